// What only a daemon with a real model shows: the one at JUDGED_ADDR.
// clients/python/tests/test_contract.py tests more.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { DeadlineExceeded, Judge } from 'judged-client';
import { check, healthClient } from './health.js';

const judge = new Judge({ timeout: 120 });
const health = healthClient();
after(() => [judge, health].forEach((client) => client.close()));

const prospect = { company: 'DevCo', headcount: 200 };
const draft = 'Hi, a word about your hiring plans?';

test('the model decides: the label first, with scores and one sentence', async () => {
  const events = [];
  for await (const event of judge.stream([{ context: prospect, draft }])) events.push(event);
  const [judged, reasoned] = events;
  assert.deepEqual(events.map(({ kind }) => kind), ['judged', 'reasoned']);
  assert.equal(reasoned.decisionId, judged.verdict.decisionId);
  assert.ok(reasoned.rationale);

  const verdict = await judge.judge(prospect, draft, { requestId: judged.requestId });
  assert.equal(verdict.decisionId, reasoned.decisionId);
  assert.equal(verdict.rationale, reasoned.rationale);
  assert.deepEqual(verdict.scores, judged.verdict.scores);
  assert.equal(verdict.decidedBy, 'MODEL');
  assert.equal(Object.keys(verdict.scores).length, 5);
  assert.ok(verdict.scores[verdict.label] > 0);
  const sum = Object.values(verdict.scores).reduce((sum, score) => sum + score, 0);
  assert.ok(Math.abs(sum - 1) < 1e-6, `the scores sum to ${sum}`);
  assert.match(verdict.model.bundle, /@/);
  assert.match(verdict.model.baseSha256, /^[0-9a-f]{64}$/);
  assert.ok(verdict.usage.promptTokens > 0);
});

test('evidence quotes, rather than explains', async () => {
  const verdict = await judge.judge(prospect, draft, { rationale: 'evidence' });
  assert.match(verdict.rationale, /^(No rule fires\.|Rule \w+: '.+'\.)$/);
});

test('a deadline holds', async () => {
  await assert.rejects(judge.judge(prospect, draft, { timeout: 0.05 }), DeadlineExceeded);
});

test('health can be checked and watched', async () => {
  const service = 'judge.v1.JudgeService';
  assert.equal(await check(health, service), 'SERVING');
  const watch = health.Watch({ service });
  for await (const { status } of watch) {
    assert.equal(status, 'SERVING');
    break;
  }
  watch.on('error', () => {});
  watch.cancel();
});
