// The contract as a Node caller sees it, against the daemon at JUDGED_ADDR,
// which has a real model. clients/python/test_client.py tests more.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { after, test } from 'node:test';
import grpc from '@grpc/grpc-js';
import { ask, errorDetails, healthClient, judgeClient } from './client.mjs';

const judge = judgeClient();
const health = healthClient();
after(() => [judge, health].forEach((client) => client.close()));

const request = (context = {}, fields = {}) => ({
  context_json: JSON.stringify({ company: 'DevCo', headcount: 200, ...context }),
  draft: 'Hi, a word about your hiring plans?',
  ...fields,
});
const offshore = { disqualifiers: ['anti_offshore'] };

test('a hard rule decides without the model', async () => {
  const answer = await ask(judge, 'Judge', request(offshore));
  assert.equal(answer.label, 'LABEL_SUPPRESS');
  assert.equal(answer.disposition, 'DISPOSITION_DO_NOT_SEND');
  assert.equal(answer.decided_by, 'DECIDED_BY_RULES');
});

test('the model decides with scores and one sentence', async () => {
  const answer = await ask(judge, 'Judge', request());
  assert.equal(answer.decided_by, 'DECIDED_BY_MODEL');
  assert.equal(answer.scores.length, 5);
  assert.ok(answer.scores.some(({ label }) => label === answer.label));
  const sum = answer.scores.reduce((sum, { probability }) => sum + probability, 0);
  assert.ok(Math.abs(sum - 1) < 1e-6, `the scores sum to ${sum}`);
  assert.ok(answer.rationale);
});

test('a stream gives labels first and survives a bad request', async () => {
  // The daemon remembers request ids: these are new in every run.
  const [model, bad, rule] = ['model', 'bad', 'rule'].map((name) => `${name}-${randomUUID()}`);
  const stream = judge.JudgeStream({ deadline: Date.now() + 120_000 });
  stream.write({ request: request({}, { request_id: model }) });
  stream.write({ request: { request_id: bad, context_json: '[]', draft: 'Hi.' } });
  stream.write({ request: request(offshore, { request_id: rule }) });
  stream.end();

  const events = { [model]: [], [bad]: [], [rule]: [] };
  for await (const response of stream) {
    events[response.request_id].push(response);
  }
  const kinds = (id) => events[id].map(({ event }) => event);
  assert.deepEqual(kinds(model), ['verdict', 'rationale']);
  assert.deepEqual(kinds(rule), ['verdict', 'rationale']);
  assert.deepEqual(kinds(bad), ['error']);
  assert.equal(events[rule][0].verdict.label, 'LABEL_SUPPRESS');
  assert.equal(events[model][0].verdict.decision_id, events[model][1].rationale.decision_id);
  assert.equal(events[bad][0].error.reason, 'MALFORMED_REQUEST');
});

test('a refusal names its reason and the field', async () => {
  await assert.rejects(ask(judge, 'Judge', { context_json: '[]', draft: 'Hi.' }), (error) => {
    assert.equal(error.code, grpc.status.INVALID_ARGUMENT);
    const { ErrorInfo, BadRequest } = errorDetails(error);
    assert.equal(ErrorInfo.reason, 'MALFORMED_REQUEST');
    assert.deepEqual(BadRequest.field_violations.map(({ field }) => field), ['context_json']);
    return true;
  });
});

test('a deadline holds', async () => {
  await assert.rejects(ask(judge, 'Judge', request(), 0.05), { code: grpc.status.DEADLINE_EXCEEDED });
});

test('health can be checked and watched', async () => {
  const service = 'judge.v1.JudgeService';
  assert.equal((await ask(health, 'Check', { service })).status, 'SERVING');
  const watch = health.Watch({ service });
  for await (const { status } of watch) {
    assert.equal(status, 'SERVING');
    break;
  }
  watch.on('error', () => {});
  watch.cancel();
});

test('the example runs', () => {
  const example = new URL('./example.mjs', import.meta.url);
  const output = execFileSync(process.execPath, [example.pathname], { encoding: 'utf8' });
  assert.match(output, /^LABEL_SUPPRESS DISPOSITION_DO_NOT_SEND/);
});
