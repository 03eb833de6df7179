// Where the daemon is, and how it knows us: see docs/security.md.

import { readFileSync } from 'node:fs';
import grpc from '@grpc/grpc-js';

/** While a call is open: what waits for a host that is gone without a word ends as `Unavailable`. */
export const keepalive = {
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 10_000,
};

/** Of an address that names a scheme and no port. */
const PORTS = { 'http:': 80, 'https:': 443 };

/**
 * What is not given is as the environment says: JUDGED_ADDR, JUDGED_CLIENT_TLS_CA, _CERT and _KEY
 * (PEM files), and JUDGED_TOKEN, or the content of JUDGED_TOKEN_FILE. A token goes in plaintext to
 * this machine alone.
 */
export function connect({ attempts = 5, ...given } = {}) {
  const { env } = process;
  const [scheme, addr] = place(given.addr ?? env.JUDGED_ADDR ?? '127.0.0.1:50551');
  const ca = file(given.ca ?? env.JUDGED_CLIENT_TLS_CA);
  const cert = file(given.cert ?? env.JUDGED_CLIENT_TLS_CERT);
  const key = file(given.key ?? env.JUDGED_CLIENT_TLS_KEY);
  const token = (given.token ?? file(env.JUDGED_TOKEN_FILE) ?? env.JUDGED_TOKEN ?? '').toString().trim();

  const secure = scheme ? scheme === 'https:' : ca !== null || cert !== null;
  const here = /^(127\.0\.0\.1|\[::1\]|localhost):/.test(addr);
  if (token && !secure && !here) {
    throw new Error(`the token would go to ${addr} in the clear: give \`ca\`, or an address with https://`);
  }
  const metadata = new grpc.Metadata();
  if (token) metadata.set('authorization', `Bearer ${token}`);
  return {
    addr,
    credentials: secure ? grpc.credentials.createSsl(ca, key, cert) : grpc.credentials.createInsecure(),
    metadata,
    options: {
      'grpc.service_config': JSON.stringify(serviceConfig(attempts)),
      // Else it is a second and more until an address that failed is tried again.
      'grpc.initial_reconnect_backoff_ms': 200,
      'grpc.max_reconnect_backoff_ms': 2000,
      ...keepalive,
      // gRPC would go through the environment's proxy to this machine too.
      ...(here && { 'grpc.enable_http_proxy': 0 }),
    },
  };
}

/** The scheme, where the address names one, and `host:port`. */
function place(addr) {
  if (!addr.includes('://')) return [null, addr];
  const { protocol, hostname, port } = new URL(addr);
  if (!(protocol in PORTS)) throw new Error(`\`${addr}\` is no address: its scheme is neither http nor https`);
  return [protocol, `${hostname}:${port || PORTS[protocol]}`];
}

const file = (path) => (path ? readFileSync(path) : null);

/**
 * A call that met no daemon, or a full one, is sent again: after up to 0.5 s, 1 s, 2 s and 4 s, as
 * long as its deadline allows. That is safe, since each has a request id; a report is not sent again,
 * since each counts.
 */
function serviceConfig(attempts) {
  const retryPolicy = {
    maxAttempts: attempts,
    initialBackoff: '0.5s',
    maxBackoff: '5s',
    backoffMultiplier: 2,
    retryableStatusCodes: ['UNAVAILABLE', 'RESOURCE_EXHAUSTED'],
  };
  const name = [{ service: 'judge.v1.JudgeService', method: 'Judge' }];
  return { methodConfig: attempts > 1 ? [{ name, retryPolicy }] : [] };
}
