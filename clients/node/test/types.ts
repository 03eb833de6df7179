// Compiled, never run: what a caller in TypeScript may write, and what not.

import { Judge, JudgeError, Unavailable, type Draft, type Event, type Verdict } from 'judged-client';

export async function use(judge: Judge, drafts: AsyncIterable<Draft>): Promise<string[]> {
  const verdict: Verdict = await judge.judge({ company: 'DevCo' }, 'Hi', { channel: 'SMS', timeout: 5 });
  const score: number | undefined = verdict.scores.PASS;
  // @ts-expect-error: there is no such channel.
  await judge.judge({}, 'Hi', { channel: 'FAX' });
  // @ts-expect-error: a verdict is what it is.
  verdict.maySend = true;
  // @ts-expect-error: PASS is no violation.
  await judge.report(verdict.decisionId, 'MISSED_VIOLATION', 'Ada Moss', { trueLabel: 'PASS' });

  const lines = [`${score}`];
  try {
    for await (const event of judge.stream(drafts)) lines.push(line(event));
  } catch (error) {
    if (error instanceof Unavailable) lines.push(`again in ${error.retryDelay ?? 1} s`);
    else if (error instanceof JudgeError) lines.push(error.fieldViolations.map(({ field }) => field).join());
    else throw error;
  }
  return lines;
}

function line(event: Event): string {
  switch (event.kind) {
    case 'judged':
      return event.verdict.label;
    case 'reasoned':
      return event.rationale;
    case 'failed':
      return event.error.reason;
  }
}
