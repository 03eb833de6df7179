// TLS, client certificates and tokens, against the daemon at JUDGED_SECURE_ADDR;
// clients/python/tests/test_secure.py tells more of it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Denied, Judge, Unavailable } from 'judged-client';
import { connect } from '../connection.js';
import { check, healthClient } from './health.js';

const file = (name) => join(process.env.JUDGED_SECURE_DIR, name);
const addr = process.env.JUDGED_SECURE_ADDR;
const tls = { addr, ca: file('ca.pem'), cert: file('crm.pem'), key: file('crm.key') };
const token = readFileSync(file('crm.token'), 'utf8');

async function asking(options) {
  const judge = new Judge(options);
  try {
    return await judge.judge({}, 'Hi', { timeout: 20 });
  } finally {
    judge.close();
  }
}

test('with certificate and token it is answered', async () => {
  for (const each of [addr, `https://${addr}`]) {
    assert.equal((await asking({ ...tls, addr: each, token })).label, 'PASS');
  }
});

test('without a token it is denied, and health is told', async () => {
  await assert.rejects(asking(tls), (error) => {
    assert.ok(error instanceof Denied);
    assert.equal(error.code, 'UNAUTHENTICATED');
    assert.equal(error.reason, 'TOKEN_MISSING');
    return true;
  });
  const health = healthClient(tls);
  assert.equal(await check(health, ''), 'SERVING');
  health.close();
});

test('without a certificate there is no connection', async () => {
  await assert.rejects(asking({ addr, ca: tls.ca, token, attempts: 1 }), Unavailable);
});

test('a token does not go elsewhere in the clear', () => {
  for (const addr of ['judge.example:50551', 'http://judge.example:50551', 'http://127.0.0.1.example']) {
    assert.throws(() => new Judge({ addr, token: 'secret' }), /in the clear/);
  }
  // What `http://` asks for is no TLS, with a `ca` or without.
  const clear = { addr: 'http://judge.example:50551', ca: tls.ca, token: 'secret' };
  assert.throws(() => new Judge(clear), /in the clear/);
  for (const addr of ['http://localhost:50551', 'http://[::1]:50551', 'https://judge.example:50551']) {
    new Judge({ addr, token: 'secret' }).close();
  }
});

test('an address says whether TLS is spoken', () => {
  for (const [addr, target, secure] of [
    ['judge.example:50551', 'judge.example:50551', false],
    ['http://judge.example:50551', 'judge.example:50551', false],
    ['HTTPS://judge.example:50551/', 'judge.example:50551', true],
    ['http://judge.example', 'judge.example:80', false],
    ['https://[2001:db8::1]', '[2001:db8::1]:443', true],
  ]) {
    const found = connect({ addr });
    assert.deepEqual([found.addr, found.credentials._isSecure()], [target, secure], addr);
  }
});

test('another scheme is refused', () => {
  for (const addr of ['ftp://judge.example', 'dns:///judge.example:50551']) {
    assert.throws(() => new Judge({ addr }), /neither http nor https/);
  }
});

test('the example takes all from the environment', () => {
  const env = {
    ...process.env,
    JUDGED_ADDR: addr,
    JUDGED_CLIENT_TLS_CA: tls.ca,
    JUDGED_CLIENT_TLS_CERT: tls.cert,
    JUDGED_CLIENT_TLS_KEY: tls.key,
    JUDGED_TOKEN_FILE: file('crm.token'),
  };
  const example = fileURLToPath(new URL('../example.mjs', import.meta.url));
  const output = execFileSync(process.execPath, [example], { env, encoding: 'utf8' });
  assert.match(output, /^SUPPRESS DO_NOT_SEND/);
});
