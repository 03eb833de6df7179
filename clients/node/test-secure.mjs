// TLS, client certificates and tokens as a Node caller sees them, against the daemon at
// JUDGED_SECURE_ADDR; clients/python/test_secure.py tells more of it.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { beforeEach, test } from 'node:test';
import grpc from '@grpc/grpc-js';
import { ask, errorDetails, healthClient, judgeClient } from './client.mjs';

const file = (name) => join(process.env.JUDGED_SECURE_DIR, name);
const request = { context_json: '{}', draft: 'Hi' };

beforeEach(() => {
  Object.assign(process.env, {
    JUDGED_ADDR: process.env.JUDGED_SECURE_ADDR,
    JUDGED_CLIENT_TLS_CA: file('ca.pem'),
    JUDGED_CLIENT_TLS_CERT: file('crm.pem'),
    JUDGED_CLIENT_TLS_KEY: file('crm.key'),
    JUDGED_TOKEN_FILE: file('crm.token'),
  });
});

async function using(client, call) {
  try {
    return await call(client);
  } finally {
    client.close();
  }
}

test('with certificate and token it is answered', async () => {
  const answer = await using(judgeClient(), (judge) => ask(judge, 'Judge', request, 20));
  assert.equal(answer.label, 'LABEL_PASS');
});

test('without a token it is refused, and health is told', async () => {
  delete process.env.JUDGED_TOKEN_FILE;
  await assert.rejects(using(judgeClient(), (judge) => ask(judge, 'Judge', request, 20)), (error) => {
    assert.equal(error.code, grpc.status.UNAUTHENTICATED);
    assert.equal(errorDetails(error).ErrorInfo.reason, 'TOKEN_MISSING');
    return true;
  });
  const answer = await using(healthClient(), (health) => ask(health, 'Check', { service: '' }, 20));
  assert.equal(answer.status, 'SERVING');
});

test('without a certificate there is no connection', async () => {
  delete process.env.JUDGED_CLIENT_TLS_CERT;
  delete process.env.JUDGED_CLIENT_TLS_KEY;
  const asking = using(judgeClient(), (judge) => ask(judge, 'Judge', request, 20));
  await assert.rejects(asking, { code: grpc.status.UNAVAILABLE });
});

test('a token does not go elsewhere in the clear', () => {
  delete process.env.JUDGED_CLIENT_TLS_CA;
  delete process.env.JUDGED_CLIENT_TLS_CERT;
  process.env.JUDGED_ADDR = 'judge.example:50551';
  assert.throws(() => judgeClient(), /in the clear/);
});
