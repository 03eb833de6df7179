// TLS, client certificates and tokens, against the daemon at JUDGED_SECURE_ADDR;
// clients/python/tests/test_secure.py tells more of it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Denied, Judge, Unavailable } from 'judged-client';
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
  assert.equal((await asking({ ...tls, token })).label, 'PASS');
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
  assert.throws(() => new Judge({ addr: 'judge.example:50551', token: 'secret' }), /in the clear/);
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
