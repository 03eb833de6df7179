// A client of judged, which decides whether an AI-written sales e-mail may be sent.
// index.d.ts tells what each thing means.

import { randomUUID } from 'node:crypto';
import { connect } from './connection.js';
import { fromCall } from './errors.js';
import { JudgeService, eventFromWire, reportToWire, requestToWire, verdictFromWire } from './wire.js';

export { DeadlineExceeded, Denied, InvalidRequest, JudgeError, Unavailable } from './errors.js';

export class Judge {
  #client;
  #metadata;
  #timeout;

  constructor({ timeout = 60, ...connection } = {}) {
    const { addr, credentials, metadata, options } = connect(connection);
    this.#client = new JudgeService(addr, credentials, options);
    this.#metadata = metadata;
    this.#timeout = timeout;
  }

  async judge(context, draft, { timeout, signal, ...options } = {}) {
    const requestId = options.requestId ?? randomUUID();
    const request = requestToWire({ ...options, context, draft, requestId });
    return verdictFromWire(requestId, await this.#call('Judge', request, timeout, signal));
  }

  async *stream(drafts, { timeout, signal } = {}) {
    signal?.throwIfAborted();
    const call = this.#client.JudgeStream(this.#metadata, deadline(timeout));
    const cancel = () => call.cancel();
    signal?.addEventListener('abort', cancel);
    let unreadable;
    write(call, drafts).catch((error) => {
      unreadable = error;
      call.cancel();
    });
    try {
      for await (const answer of call) {
        const event = eventFromWire(answer);
        if (event) yield event;
      }
    } catch (error) {
      signal?.throwIfAborted();
      throw unreadable ?? fromCall(error);
    } finally {
      signal?.removeEventListener('abort', cancel);
      call.on('error', () => {});
      call.cancel();
    }
  }

  async report(decisionId, kind, by, { timeout, signal, ...found } = {}) {
    const request = reportToWire({ ...found, decisionId, kind, by });
    return (await this.#call('ReportOutcome', request, timeout, signal)).tripped;
  }

  close() {
    this.#client.close();
  }

  #call(method, request, timeout = this.#timeout, signal = undefined) {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const cancel = () => call.cancel();
      const call = this.#client[method](request, this.#metadata, deadline(timeout), (error, answer) => {
        signal?.removeEventListener('abort', cancel);
        if (!error) resolve(answer);
        else reject(signal?.aborted ? signal.reason : fromCall(error));
      });
      signal?.addEventListener('abort', cancel);
    });
  }
}

const deadline = (seconds) => (seconds === undefined ? {} : { deadline: Date.now() + seconds * 1000 });

/** Sends drafts no faster than they are taken. */
async function write(call, drafts) {
  let over = false;
  const end = new Promise((resolve) => {
    for (const event of ['status', 'error', 'close']) call.once(event, resolve);
  }).then(() => (over = true));
  for await (const draft of drafts) {
    if (over) return;
    const request = requestToWire({ requestId: randomUUID(), ...draft });
    if (!call.write({ request })) {
      await Promise.race([new Promise((resolve) => call.once('drain', resolve)), end]);
    }
  }
  if (!over) call.end();
}
