// The failure table of ARCHITECTURE.md as this client tells it, row by row, against daemons without a
// model: $JUDGED is the executable. judge.test.js has the deadline and the full daemon,
// narrow.test.js what takes a model.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Denied, InvalidRequest, Judge, Unavailable } from 'judged-client';
import { keepalive } from '../connection.js';
import { Daemon } from './daemon.js';

const offshore = { company: 'DevCo', disqualifiers: ['anti_offshore'] };
const noModel = ['--mode', 'enforce', '--model-dir', join(tmpdir(), 'there-is-no-such-folder')];

async function started(t, options = [], client = {}) {
  const daemon = await new Daemon(t, ...options).start();
  const judge = new Judge({ addr: daemon.addr, timeout: 20, ...client });
  t.after(() => judge.close());
  return { daemon, judge };
}

/** The error of a call that must fail so. */
async function refusal(kind, code, reason, call) {
  const error = await call.then(
    () => assert.fail('it was answered'),
    (error) => error,
  );
  assert.ok(error instanceof kind, error);
  assert.deepEqual([error.code, error.reason], [code, reason]);
  return error;
}

test('a message over the limit', async (t) => {
  const { judge } = await started(t, ['--max-message-bytes', '2048']);
  const error = await refusal(InvalidRequest, 'OUT_OF_RANGE', '', judge.judge({}, 'a'.repeat(3000)));
  assert.match(error.message, /2048/);
  assert.equal((await judge.judge({}, 'a')).label, 'PASS');
});

test('a request id used for another content', async (t) => {
  const { judge } = await started(t);
  await judge.judge({}, 'Hi', { requestId: 'kept' });
  await refusal(InvalidRequest, 'ALREADY_EXISTS', 'REQUEST_ID_REUSED', judge.judge({}, 'Ho', { requestId: 'kept' }));
});

test('a token that is missing, unknown or not for this', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'judged-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'tokens.toml');
  const options = ['token', 'new', '--name', 'crm', '--scope', 'judge', '--tokens', file];
  const token = execFileSync(process.env.JUDGED, options, { encoding: 'utf8' });
  const { daemon, judge } = await started(t, ['--tokens', file], { token });
  for (const [token, reason] of [['', 'TOKEN_MISSING'], ['judged_0', 'TOKEN_UNKNOWN']]) {
    const stranger = new Judge({ addr: daemon.addr, token });
    t.after(() => stranger.close());
    await refusal(Denied, 'UNAUTHENTICATED', reason, stranger.judge({}, 'Hi'));
  }
  const { decisionId } = await judge.judge({}, 'Hi');
  const report = judge.report(decisionId, 'RIGHT', 'Ada Moss');
  const error = await refusal(Denied, 'PERMISSION_DENIED', 'SCOPE_MISSING', report);
  assert.match(error.message, /feedback/);
});

test('a decision that cannot be recorded', async (t) => {
  const { daemon, judge } = await started(t, [], { attempts: 1 });
  await judge.judge({}, 'Hi');
  rmSync(join(daemon.folder, 'state', 'decisions.db'));
  const error = await refusal(Unavailable, 'UNAVAILABLE', 'DECISION_NOT_RECORDED', judge.judge({}, 'Ho'));
  assert.equal(error.retryDelay, 5);
});

test('a drain ends an open stream', async (t) => {
  const { daemon, judge } = await started(t);
  let release;
  const over = new Promise((resolve) => (release = resolve));
  async function* drafts() {
    yield { context: {}, draft: 'Hi', rationale: false };
    await over;
  }
  const events = judge.stream(drafts());
  assert.equal((await events.next()).value.verdict.label, 'PASS');
  const exit = once(daemon.process, 'exit');
  daemon.process.kill('SIGTERM');
  const error = await refusal(Unavailable, 'UNAVAILABLE', 'DRAINING', events.next());
  release();
  assert.equal(error.retryDelay, 5);
  assert.equal((await exit)[0], 0);
});

test('a host that is gone without a word ends an open stream', { timeout: 20_000 }, async (t) => {
  const usual = { ...keepalive };
  t.after(() => Object.assign(keepalive, usual));
  Object.assign(keepalive, { 'grpc.keepalive_time_ms': 200, 'grpc.keepalive_timeout_ms': 300 });
  const { daemon, judge } = await started(t);
  let release;
  const over = new Promise((resolve) => (release = resolve));
  async function* drafts() {
    yield { context: {}, draft: 'Hi', rationale: false };
    await over;
  }
  const events = judge.stream(drafts());
  assert.equal((await events.next()).value.verdict.label, 'PASS');
  // Many pings on which nothing else is sent.
  await sleep(2000);
  await daemon.pause();
  await refusal(Unavailable, 'UNAVAILABLE', '', events.next());
  release();
});

test('without a model the rules answer and say why', async (t) => {
  const { judge } = await started(t, noModel);
  const verdict = await judge.judge({}, 'Hi');
  assert.deepEqual([verdict.decidedBy, verdict.mode], ['RULES', 'ENFORCE']);
  assert.deepEqual([verdict.label, verdict.disposition], ['PASS', 'HOLD_FOR_REVIEW']);
  assert.match(verdict.degradedReason, /the model/);
  assert.equal(verdict.maySend, false);
  // No matter of the model.
  assert.equal((await judge.judge(offshore, 'Hi')).degradedReason, '');
});

test('a tripped kill switch is told in each answer', async (t) => {
  const { judge } = await started(t, noModel);
  const { decisionId } = await judge.judge({}, 'Hi');
  assert.equal(await judge.report(decisionId, 'INCIDENT', 'Ada Moss', { incidentTier: 1 }), true);
  const verdict = await judge.judge({}, 'Ho');
  assert.deepEqual([verdict.decidedBy, verdict.mode], ['RULES', 'RULES_ONLY']);
  assert.match(verdict.degradedReason, /incident/);
  assert.equal(verdict.disposition, 'HOLD_FOR_REVIEW');
});
