// What goes wrong, by what a caller can do about it.

import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const path = fileURLToPath(new URL('./proto/error_details.proto', import.meta.url));
const types = loadSync(path, { longs: Number, defaults: true });

export class JudgeError extends Error {
  constructor(code, message, reason = '', fieldViolations = [], retryDelay = null, options = {}) {
    super(`${code}${reason && ` (${reason})`}: ${message}`, options);
    this.name = new.target.name;
    Object.assign(this, { code, reason, fieldViolations, retryDelay });
  }
}

export class InvalidRequest extends JudgeError {}
export class Denied extends JudgeError {}
export class Unavailable extends JudgeError {}
export class DeadlineExceeded extends JudgeError {}

const classes = {
  INVALID_ARGUMENT: InvalidRequest,
  OUT_OF_RANGE: InvalidRequest,
  ALREADY_EXISTS: InvalidRequest,
  NOT_FOUND: InvalidRequest,
  FAILED_PRECONDITION: InvalidRequest,
  UNAUTHENTICATED: Denied,
  PERMISSION_DENIED: Denied,
  UNAVAILABLE: Unavailable,
  RESOURCE_EXHAUSTED: Unavailable,
  DEADLINE_EXCEEDED: DeadlineExceeded,
};

/** Of a call that failed; what is no gRPC error stays as it is. */
export function fromCall(error) {
  if (!error?.metadata) return error;
  const { ErrorInfo, BadRequest, RetryInfo } = details(error);
  return make(error.code, error.details, {
    reason: ErrorInfo?.reason,
    fieldViolations: BadRequest?.fieldViolations,
    retryDelay: RetryInfo?.retryDelay,
    cause: error,
  });
}

/** Of one draft on a stream. */
export const fromEvent = (event) => make(event.code, event.message, event);

function make(number, message, { reason, fieldViolations, retryDelay, cause }) {
  const code = grpc.status[number] ?? 'UNKNOWN';
  const delay = retryDelay ? retryDelay.seconds + retryDelay.nanos / 1e9 : null;
  return new (classes[code] ?? JudgeError)(code, message, reason, fieldViolations, delay, { cause });
}

/** By type: ErrorInfo, BadRequest, RetryInfo. */
function details({ metadata }) {
  const [packed] = metadata.get('grpc-status-details-bin');
  if (!packed) return {};
  const found = {};
  try {
    for (const { type_url: url, value } of types['google.rpc.Status'].deserialize(packed).details) {
      const type = url.split('/').at(-1);
      if (type in types) found[type.split('.').at(-1)] = types[type].deserialize(value);
    }
  } catch {
    // What stands between us and the daemon may write anything.
  }
  return found;
}
