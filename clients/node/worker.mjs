// A queue before the sending: judges drafts, and puts into the outbox what may be sent.
//
//   node worker.mjs verdicts.jsonl outbox.jsonl <drafts.jsonl
//
// A line is {"id": …, "context": {…}, "draft": …, "channel": …}; without a channel it is the context's,
// or e-mail. Verdicts are appended as they get ready. After a crash give the same lines again: an id
// that the daemon knows gets the same decision, and may be twice in the files.

import { appendFileSync, existsSync, realpathSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Judge, Unavailable } from 'judged-client';

const IN_FLIGHT = 16;
const CHANNELS = ['EMAIL', 'SMS', 'LINKEDIN'];

export class Worker {
  open = new Map(); // Drafts that wait for their last word, by id.
  labels = new Map(); // Verdicts that wait for their rationale, by id.
  later = []; // Drafts to send again.
  allRead = false;
  failures = 0;
  changed = () => {}; // Wakes `feed`.

  constructor(judge, verdicts, outbox, lines) {
    Object.assign(this, { judge, verdicts, outbox, lines });
  }

  /** Gives how many lines got no verdict. A broken stream is opened anew. */
  async run() {
    for (let pause = 0.5; !this.done(); ) {
      // A label without its rationale says nothing of what the next stream answers.
      this.labels.clear();
      try {
        for await (const event of this.judge.stream(this.feed())) {
          pause = 0.5;
          this.take(event);
          this.changed();
        }
      } catch (error) {
        if (!(error instanceof Unavailable)) throw error;
        console.error(`again in ${pause} s: ${error.message}`);
        await sleep(pause * 1000);
        pause = Math.min(2 * pause, 30);
      }
    }
    return this.failures;
  }

  done() {
    return this.allRead && this.open.size === 0;
  }

  async *feed() {
    this.later = [...this.open.values()];
    const mine = (this.feeding = {});
    while (this.feeding === mine && !this.done()) {
      const wake = new Promise((resolve) => (this.changed = resolve));
      if (this.later.length > 0) {
        yield this.later.shift();
      } else if (this.allRead || this.open.size >= IN_FLIGHT) {
        await wake;
      } else {
        // A line that comes when this stream has ended is for the next one.
        this.line ??= this.lines.next();
        const line = await Promise.race([this.line, wake]);
        if (this.feeding !== mine || line === undefined) continue;
        this.line = undefined;
        const draft = line.done ? ((this.allRead = true), null) : this.read(line.value);
        if (draft) yield draft;
      }
    }
  }

  read(line) {
    try {
      const { id, context, draft, channel } = JSON.parse(line);
      if (typeof id !== 'string' || !context || typeof draft !== 'string') {
        throw new Error('`id`, `context` or `draft` is missing, or is none');
      }
      if (!CHANNELS.includes(channel ?? 'EMAIL')) throw new Error(`there is no channel \`${channel}\``);
      if (this.open.has(id)) throw new Error(`the id \`${id}\` is in flight already`);
      const read = { context, draft, channel: channel ?? undefined, requestId: id };
      this.open.set(id, read);
      return read;
    } catch (error) {
      this.fail({ line, error: error.message });
      return null;
    }
  }

  take(event) {
    const draft = this.open.get(event.requestId);
    const verdict = this.labels.get(event.requestId);
    if (!draft) return; // It was sent twice, and has its last word.
    if (event.kind === 'judged') {
      this.labels.set(event.requestId, event.verdict);
    } else if (verdict) {
      this.decide(draft, { ...verdict, rationale: event.rationale ?? '' });
    } else if (isPassing(event.error)) {
      const mine = this.feeding;
      setTimeout(() => {
        // The next stream has sent again by itself all that is open.
        if (this.feeding !== mine) return;
        this.later.push(draft);
        this.changed();
      }, 1000 * (event.error.retryDelay ?? 1));
    } else {
      this.open.delete(event.requestId);
      this.fail({ requestId: event.requestId, error: event.error.message });
    }
  }

  decide(draft, verdict) {
    append(this.verdicts, verdict);
    if (verdict.maySend) append(this.outbox, { id: draft.requestId, draft: draft.draft });
    this.open.delete(draft.requestId);
    this.labels.delete(draft.requestId);
  }

  fail(row) {
    append(this.verdicts, row);
    this.failures += 1;
  }
}

/** A deadline that is out of reach says when to come back, too. */
const isPassing = (error) => error instanceof Unavailable || error.retryDelay !== null;

const append = (path, row) => appendFileSync(path, `${JSON.stringify(row)}\n`);

async function main([verdicts, outbox]) {
  if (!outbox) {
    console.error('usage: node worker.mjs VERDICTS OUTBOX <DRAFTS');
    process.exit(2);
  }
  const judge = new Judge();
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  try {
    process.exitCode = (await new Worker(judge, verdicts, outbox, lines).run()) > 0 ? 1 : 0;
  } catch (error) {
    console.error(`error: ${error.message}`);
    process.exit(1);
  }
  judge.close();
}

// The path of the program may be a link, that of the module is none.
const [, program, ...files] = process.argv;
if (program && existsSync(program) && realpathSync(program) === fileURLToPath(import.meta.url)) await main(files);
