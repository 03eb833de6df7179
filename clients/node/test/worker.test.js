// What the worker does with failures that no daemon without a model has.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { DeadlineExceeded, Unavailable } from 'judged-client';
import { Worker } from '../worker.mjs';

const full = () => new Unavailable('RESOURCE_EXHAUSTED', 'the queue is full', 'QUEUE_FULL', [], 0.01);
const judged = (maySend) => ({ requestId }) => ({ kind: 'judged', requestId, verdict: { requestId, maySend } });
const reasoned = ({ requestId }) => ({ kind: 'reasoned', requestId, rationale: 'No rule fires.' });
const failed = ({ requestId }) => ({ kind: 'failed', requestId, error: full() });
const late = (reason, delay) => ({ requestId }) => {
  const error = new DeadlineExceeded('DEADLINE_EXCEEDED', 'too late', reason, [], delay);
  return { kind: 'failed', requestId, error };
};

/** The worker's failures, verdicts and outbox, where the n-th draft gets what the n-th row says. */
async function work(t, rows, lines = ['{"id": "1", "context": {}, "draft": "Hi"}']) {
  const folder = mkdtempSync(join(tmpdir(), 'judged-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const judge = {
    async *stream(drafts) {
      for await (const draft of drafts) {
        for (const step of rows.shift()) {
          if (step instanceof Error) throw step;
          yield step(draft);
        }
      }
    },
  };
  async function* input() {
    yield* lines;
  }
  const [verdicts, outbox] = ['verdicts', 'outbox'].map((name) => join(folder, name));
  const failures = await new Worker(judge, verdicts, outbox, input()).run();
  const read = (path) =>
    existsSync(path) ? readFileSync(path, 'utf8').trimEnd().split('\n').map((row) => JSON.parse(row)) : [];
  return { failures, verdicts: read(verdicts), outbox: read(outbox) };
}

test('a draft that met a full queue is sent again', async (t) => {
  const { failures, verdicts, outbox } = await work(t, [[failed], [failed], [judged(true), reasoned]]);
  assert.equal(failures, 0);
  assert.deepEqual(verdicts, [{ requestId: '1', maySend: true, rationale: 'No rule fires.' }]);
  assert.deepEqual(outbox, [{ id: '1', draft: 'Hi' }]);
});

test('so is one whose deadline was out of reach', async (t) => {
  const { failures, outbox } = await work(t, [[late('DEADLINE_OUT_OF_REACH', 0.01)], [judged(true), reasoned]]);
  assert.equal(failures, 0);
  assert.deepEqual(outbox, [{ id: '1', draft: 'Hi' }]);
});

test('a deadline that says no time to come back is a failure', async (t) => {
  const { failures, verdicts, outbox } = await work(t, [[late('DEADLINE_EXCEEDED', null)]]);
  assert.equal(failures, 1);
  assert.deepEqual(verdicts, [{ requestId: '1', error: 'DEADLINE_EXCEEDED (DEADLINE_EXCEEDED): too late' }]);
  assert.deepEqual(outbox, []);
});

test('a label stands where its rationale fails', async (t) => {
  const { failures, verdicts, outbox } = await work(t, [[judged(true), failed]]);
  assert.equal(failures, 0);
  assert.deepEqual(verdicts, [{ requestId: '1', maySend: true, rationale: '' }]);
  assert.equal(outbox.length, 1);
});

test('a label alone lets nothing out when the stream breaks', async (t) => {
  const { failures, verdicts, outbox } = await work(t, [[judged(true), full()], [judged(false), reasoned]]);
  assert.equal(failures, 0);
  assert.deepEqual(verdicts.map(({ maySend }) => maySend), [false]);
  assert.deepEqual(outbox, []);
});

test('a label of a broken stream decides nothing on the next one', async (t) => {
  const rows = [[judged(true), full()], [failed], [judged(false), reasoned]];
  const { failures, verdicts, outbox } = await work(t, rows);
  assert.equal(failures, 0);
  assert.deepEqual(verdicts.map(({ maySend }) => maySend), [false]);
  assert.deepEqual(outbox, []);
});

test('what waits to be sent again is forgotten with its stream', async (t) => {
  const sent = [];
  const seen = (step) => (draft) => {
    sent.push(draft.draft);
    return step(draft);
  };
  const again = (delay) => seen(late('DEADLINE_OUT_OF_REACH', delay));
  let decided;
  const first = new Promise((resolve) => (decided = resolve));
  const last = (draft) => {
    decided();
    return reasoned(draft);
  };
  // The second line has the first one's id again.
  async function* lines() {
    yield '{"id": "1", "context": {}, "draft": "Hi"}';
    await first;
    yield '{"id": "1", "context": {}, "draft": "Another"}';
  }
  // The next stream begins after 0.5 s.
  const rows = [[again(0.6), full()], [seen(judged(true)), last], [again(0.2)], [seen(judged(true)), reasoned]];
  const { failures, outbox } = await work(t, rows, lines());
  assert.deepEqual(sent, ['Hi', 'Hi', 'Another', 'Another']);
  assert.equal(failures, 0);
  assert.deepEqual(outbox.map(({ draft }) => draft), ['Hi', 'Another']);
});

test('lines that cannot be read are counted and hold up nothing', async (t) => {
  const good = '{"id": "1", "context": {}, "draft": "Hi"}';
  const by = (channel) => good.replace('"Hi"', `"Hi", "channel": "${channel}"`);
  const lines = ['[]', '{"id": 1, "context": {}, "draft": "Hi"}', 'nonsense', by('FAX'), by(''), good];
  const { failures, verdicts, outbox } = await work(t, [[judged(true), reasoned]], lines);
  assert.equal(failures, 5);
  assert.ok(verdicts.slice(0, 5).every(({ error }) => error));
  assert.equal(outbox.length, 1);
});

test('a link to the worker runs it', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'judged-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const link = join(folder, 'linked.mjs');
  symlinkSync(fileURLToPath(new URL('../worker.mjs', import.meta.url)), link);
  const { status, stderr } = spawnSync(process.execPath, [link], { encoding: 'utf8' });
  assert.equal(status, 2);
  assert.match(stderr, /^usage: /);
});
