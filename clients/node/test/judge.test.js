// Judge, against daemons without a model: $JUDGED is the executable.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { DeadlineExceeded, InvalidRequest, Judge, Unavailable } from 'judged-client';
import { Daemon } from './daemon.js';

const prospect = { company: 'DevCo', headcount: 200, recipient_role: 'vp_eng' };
const offshore = { ...prospect, disqualifiers: ['anti_offshore'] };

async function started(t, ...options) {
  return new Daemon(t, ...options).start();
}

function client(t, daemon, options = {}) {
  const judge = new Judge({ addr: daemon.addr, timeout: 20, ...options });
  t.after(() => judge.close());
  return judge;
}

const shared = new Daemon({ after });
let judge;
before(async () => {
  await shared.start();
  judge = new Judge({ addr: shared.addr, timeout: 20 });
});
after(() => judge.close());

test('a verdict says all that the daemon said', async () => {
  const verdict = await judge.judge(offshore, 'Hi, a word?');
  const { timings, decisionId, requestId, rationale, ...rest } = verdict;
  assert.deepEqual(rest, {
    label: 'SUPPRESS',
    disposition: 'DO_NOT_SEND',
    maySend: false,
    scores: {},
    decidedBy: 'RULES',
    mode: 'RULES_ONLY',
    degradedReason: rest.degradedReason,
    rules: ['rule_1_disqualifier'],
    model: null,
    usage: rest.usage,
    legalMass: 0,
  });
  assert.match(rationale, /anti_offshore/);
  assert.ok(decisionId && requestId);
  assert.ok(timings.total > 0 && timings.total < 20, `${timings.total} s`);
});

test('a pass of the rules is not sent', async () => {
  const verdict = await judge.judge(prospect, 'Hi, a word?', { channel: 'SMS', rationale: false });
  assert.equal(verdict.label, 'PASS');
  assert.equal(verdict.disposition, 'HOLD_FOR_REVIEW');
  assert.equal(verdict.rationale, '');
  assert.equal(verdict.maySend, false);
});

test('an id stands for one decision', async () => {
  const first = await judge.judge(offshore, 'Hi');
  const again = await judge.judge(offshore, 'Hi', { requestId: first.requestId });
  assert.equal(again.decisionId, first.decisionId);
});

test('a refusal names its reason and the fields', async () => {
  await assert.rejects(judge.judge('[]', ''), (error) => {
    assert.ok(error instanceof InvalidRequest);
    assert.equal(error.code, 'INVALID_ARGUMENT');
    assert.equal(error.reason, 'MALFORMED_REQUEST');
    assert.deepEqual(error.fieldViolations.map(({ field }) => field).sort(), ['context_json', 'draft']);
    assert.equal(error.retryDelay, null);
    assert.match(error.message, /MALFORMED_REQUEST/);
    return true;
  });
});

test('a channel that does not exist is an error here', async () => {
  await assert.rejects(judge.judge(prospect, 'Hi', { channel: 'FAX' }), /CHANNEL_FAX/);
});

/** Holds one call open until `release` is called; `ended` tells when it was. */
async function heldStream(judge) {
  let release;
  const over = new Promise((resolve) => (release = resolve));
  async function* drafts() {
    yield { context: offshore, draft: 'Hi', rationale: false };
    await over;
  }
  const events = judge.stream(drafts());
  await events.next();
  return { release, ended: () => events.next() };
}

test('a full daemon says when to try again', async (t) => {
  const daemon = await started(t, '--max-calls', '1');
  const judge = client(t, daemon, { attempts: 1 });
  const { release, ended } = await heldStream(judge);
  await assert.rejects(judge.judge(prospect, 'Hi'), (error) => {
    assert.ok(error instanceof Unavailable);
    assert.equal(error.code, 'RESOURCE_EXHAUSTED');
    assert.equal(error.reason, 'TOO_MANY_CALLS');
    assert.ok(error.retryDelay > 0);
    return true;
  });
  release();
  assert.equal((await ended()).done, true);
});

test('a call to a full daemon is sent again', async (t) => {
  const daemon = await started(t, '--max-calls', '1');
  const judge = client(t, daemon);
  const { release, ended } = await heldStream(judge);
  setTimeout(release, 300);
  assert.equal((await judge.judge(offshore, 'Hi')).label, 'SUPPRESS');
  assert.equal((await ended()).done, true);
});

test('a call outlives a restart', async (t) => {
  const daemon = await started(t);
  const judge = client(t, daemon);
  const first = await judge.judge(offshore, 'Hi', { requestId: 'kept' });
  await daemon.stop();
  const again = judge.judge(offshore, 'Hi', { requestId: 'kept' });
  await sleep(300);
  await daemon.start();
  assert.equal((await again).decisionId, first.decisionId);
});

test('without a daemon it is unavailable', async (t) => {
  const daemon = await started(t);
  await daemon.stop();
  await assert.rejects(client(t, daemon, { attempts: 1 }).judge(prospect, 'Hi'), (error) => {
    assert.ok(error instanceof Unavailable);
    assert.equal(error.code, 'UNAVAILABLE');
    assert.equal(error.reason, '');
    return true;
  });
});

test('to this machine no proxy is asked', async (t) => {
  const kept = { ...process.env };
  t.after(() => {
    delete process.env.grpc_proxy;
    delete process.env.http_proxy;
    Object.assign(process.env, kept);
  });
  delete process.env.no_proxy;
  delete process.env.no_grpc_proxy;
  // The one that gRPC takes before all others; nobody listens there.
  process.env.grpc_proxy = 'http://127.0.0.1:1';
  process.env.http_proxy = 'http://127.0.0.1:1';
  const [, port] = shared.addr.split(':');
  for (const addr of [shared.addr, `http://localhost:${port}`]) {
    const verdict = await client(t, { addr }, { attempts: 1 }).judge(prospect, 'Hi');
    assert.equal(verdict.label, 'PASS');
  }
});

test('a deadline and a signal hold while the daemon hangs', async (t) => {
  const daemon = await started(t);
  const judge = client(t, daemon);
  await judge.judge(prospect, 'Hi');
  await daemon.pause();
  await assert.rejects(judge.judge(prospect, 'Hi', { timeout: 0.3 }), DeadlineExceeded);
  await assert.rejects(judge.judge(prospect, 'Hi', { signal: AbortSignal.timeout(100) }), { name: 'TimeoutError' });
  const stream = judge.stream([{ context: {}, draft: 'Hi' }], { signal: AbortSignal.timeout(100) });
  await assert.rejects(stream.next(), { name: 'TimeoutError' });
  daemon.resume();
  assert.equal((await judge.judge(prospect, 'Hi')).label, 'PASS');
});

test('a stream gives the label first and survives a bad draft', async () => {
  const drafts = [
    { requestId: 'full', context: offshore, draft: 'Hi' },
    { requestId: 'short', context: offshore, draft: 'Hi', rationale: false },
    { requestId: 'bad', context: '[]', draft: 'Hi' },
  ];
  const of = { full: [], short: [], bad: [] };
  for await (const event of judge.stream(drafts)) of[event.requestId].push(event);

  const kinds = (name) => of[name].map(({ kind }) => kind);
  assert.deepEqual(kinds('full'), ['judged', 'reasoned']);
  assert.deepEqual(kinds('short'), ['judged']);
  assert.deepEqual(kinds('bad'), ['failed']);
  const [judged, reasoned] = of.full;
  assert.equal(judged.verdict.label, 'SUPPRESS');
  assert.equal(judged.verdict.rationale, '');
  assert.equal(reasoned.decisionId, judged.verdict.decisionId);
  assert.match(reasoned.rationale, /anti_offshore/);
  const [{ error }] = of.bad;
  assert.ok(error instanceof InvalidRequest);
  assert.equal(error.reason, 'MALFORMED_REQUEST');
  assert.deepEqual(error.fieldViolations.map(({ field }) => field), ['context_json']);
});

test('what goes wrong in reading drafts ends the stream', async () => {
  async function* drafts() {
    yield { context: offshore, draft: 'Hi', rationale: false };
    throw new Error('the queue is gone');
  }
  const all = async () => {
    for await (const _ of judge.stream(drafts()));
  };
  await assert.rejects(all(), /the queue is gone/);
});

test('a report reaches the decision', async () => {
  const { decisionId } = await judge.judge(offshore, 'Hi');
  assert.equal(await judge.report(decisionId, 'FALSE_POSITIVE', 'Ada Moss', { probe: 'E01' }), false);
  await assert.rejects(judge.report('nowhere', 'RIGHT', 'Ada Moss'), { code: 'NOT_FOUND', reason: 'UNKNOWN_DECISION' });
  await assert.rejects(judge.report(decisionId, 'MISSED_VIOLATION', 'Ada Moss'), (error) => {
    assert.deepEqual(error.fieldViolations.map(({ field }) => field), ['true_label']);
    return true;
  });
});

const line = (id, context) => `${JSON.stringify({ id, context, draft: `Hi, ${id}` })}\n`;

function startWorker(daemon) {
  const [verdicts, outbox] = ['verdicts.jsonl', 'outbox.jsonl'].map((name) => join(daemon.folder, name));
  const worker = spawn(process.execPath, [fileURLToPath(new URL('../worker.mjs', import.meta.url)), verdicts, outbox], {
    env: { ...process.env, JUDGED_ADDR: daemon.addr },
    stdio: ['pipe', 'inherit', 'ignore'],
  });
  const rows = (path) => readFileSync(path, 'utf8').trimEnd().split('\n').map((row) => JSON.parse(row));
  return {
    stdin: worker.stdin,
    exit: once(worker, 'exit'),
    begun: () => existsSync(verdicts),
    verdicts: () => rows(verdicts),
    sent: () => rows(outbox).map(({ id }) => id).sort(),
  };
}

test('the worker puts into the outbox only what may be sent', async (t) => {
  const daemon = await started(t, '--rules-pass', 'DISPATCH');
  const worker = startWorker(daemon);
  for (let n = 0; n < 40; n++) worker.stdin.write(line(`draft-${n}`, n % 2 ? prospect : offshore));
  worker.stdin.end('{"id": "no draft"}\n' + line('array', []));
  assert.deepEqual(await worker.exit, [1, null]);
  const verdicts = worker.verdicts();
  assert.equal(verdicts.length, 42);
  const of = (id) => verdicts.find(({ requestId }) => requestId === id);
  assert.equal(of('draft-0').label, 'SUPPRESS');
  assert.match(of('draft-0').rationale, /anti_offshore/);
  assert.match(of(undefined).error, /is missing/);
  assert.match(of('array').error, /MALFORMED_REQUEST/);
  assert.deepEqual(worker.sent(), Array.from({ length: 20 }, (_, n) => `draft-${2 * n + 1}`).sort());
});

test('the worker goes on after a restart of the daemon', { timeout: 30_000 }, async (t) => {
  const daemon = await started(t, '--rules-pass', 'DISPATCH');
  const worker = startWorker(daemon);
  worker.stdin.write(line('before', prospect));
  while (!worker.begun()) await sleep(20);
  await daemon.stop();
  worker.stdin.write(line('while it is away', prospect));
  await daemon.start();
  worker.stdin.end(line('after', prospect));
  assert.deepEqual(await worker.exit, [0, null]);
  assert.deepEqual(worker.sent(), ['after', 'before', 'while it is away']);
});
