// Clients made from our proto when they are needed: no code is generated.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const load = (file, folder) =>
  loadSync(file, { includeDirs: [path(folder)], keepCase: true, enums: String, defaults: true, oneofs: true });

const { judge } = grpc.loadPackageDefinition(load('judge/v1/judge.proto', '../../proto'));
const details = load('error_details.proto', './proto');

const addr = () => process.env.JUDGED_ADDR ?? '127.0.0.1:50551';

const file = (name) => (process.env[name] ? readFileSync(process.env[name]) : null);

/**
 * TLS where JUDGED_CLIENT_TLS_CA or JUDGED_CLIENT_TLS_CERT is set (PEM files), and JUDGED_TOKEN, or
 * the content of JUDGED_TOKEN_FILE, in each call: see docs/security.md. A token goes in plaintext to
 * this machine alone.
 */
function connection() {
  const [ca, cert, key] = ['CA', 'CERT', 'KEY'].map((name) => file(`JUDGED_CLIENT_TLS_${name}`));
  const token = (file('JUDGED_TOKEN_FILE') ?? process.env.JUDGED_TOKEN ?? '').toString().trim();
  const secure = ca !== null || cert !== null;
  if (token && !secure && !/^(127\.0\.0\.1|\[::1\]|localhost):/.test(addr())) {
    throw new Error(`the token would go to ${addr()} in the clear: set JUDGED_CLIENT_TLS_CA`);
  }
  const bearer = (options, nextCall) =>
    new grpc.InterceptingCall(nextCall(options), {
      start(metadata, listener, next) {
        metadata.set('authorization', `Bearer ${token}`);
        next(metadata, listener);
      },
    });
  const credentials = secure
    ? grpc.credentials.createSsl(ca, key, cert)
    : grpc.credentials.createInsecure();
  return [addr(), credentials, { interceptors: token ? [bearer] : [] }];
}

export const judgeClient = () => new judge.v1.JudgeService(...connection());

export function healthClient() {
  const { grpc: { health } } = grpc.loadPackageDefinition(load('health.proto', './proto'));
  return new health.v1.Health(...connection());
}

/** A unary call as a promise; it fails after so many seconds. */
export function ask(client, method, request, seconds = 120) {
  const deadline = Date.now() + seconds * 1000;
  return new Promise((resolve, reject) => {
    client[method](request, { deadline }, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

/** What an error says beside its code, by type: `ErrorInfo`, `BadRequest`. */
export function errorDetails(error) {
  const [packed] = error.metadata.get('grpc-status-details-bin');
  const any = packed ? details['google.rpc.Status'].deserialize(packed).details : [];
  return Object.fromEntries(
    any
      .map(({ type_url, value }) => [type_url.split('/')[1], value])
      .filter(([type]) => type in details)
      .map(([type, value]) => [type.split('.').at(-1), details[type].deserialize(value)]),
  );
}
