// Rows of the failure table that take a model: the daemon at JUDGED_ADDR has one, one slot, and room
// for one request that waits.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { DeadlineExceeded, InvalidRequest, Judge, Unavailable } from 'judged-client';

const judge = new Judge({ timeout: 120, attempts: 1 });
after(() => judge.close());

const long = 'We build teams of engineers for companies such as yours. '.repeat(60);

test('a prompt over the budget is refused with its count', async () => {
  await assert.rejects(judge.judge({}, long.repeat(20)), (error) => {
    assert.ok(error instanceof InvalidRequest);
    assert.deepEqual([error.code, error.reason], ['INVALID_ARGUMENT', 'PROMPT_TOO_LONG']);
    assert.deepEqual(error.fieldViolations.map(({ field }) => field), ['draft']);
    assert.match(error.message, /tokens/);
    return true;
  });
});

test('a full queue says when to try again and serves what it took', async () => {
  const calls = Array.from({ length: 6 }, (_, n) => judge.judge({ company: `Full of ${n}` }, 'Hi', { rationale: false }));
  const answers = await Promise.allSettled(calls);
  const refused = answers.filter(({ status }) => status === 'rejected').map(({ reason }) => reason);
  assert.ok(refused.length >= 1 && refused.length <= 5, `${refused.length} were refused`);
  for (const error of refused) {
    assert.ok(error instanceof Unavailable, error);
    assert.deepEqual([error.code, error.reason, error.retryDelay], ['RESOURCE_EXHAUSTED', 'QUEUE_FULL', 1]);
  }
  const judged = answers.filter(({ status }) => status === 'fulfilled');
  assert.ok(judged.every(({ value }) => value.decidedBy === 'MODEL'));
});

test('a deadline out of reach is told at once', async () => {
  // Its steps, more than two, tell the pace. Not the prompt that the Python client has sent, which is kept.
  await judge.judge({ company: 'Steady' }, long, { rationale: false });
  await assert.rejects(judge.judge({ company: 'Late for this' }, long, { timeout: 1 }), (error) => {
    assert.ok(error instanceof DeadlineExceeded);
    assert.deepEqual([error.reason, error.retryDelay], ['DEADLINE_OUT_OF_REACH', 1]);
    return true;
  });
});
