// The standard health service, with the connection that Judge would have.

import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { connect } from '../connection.js';

const path = fileURLToPath(new URL('./health.proto', import.meta.url));
const { grpc: { health } } = grpc.loadPackageDefinition(loadSync(path, { enums: String, defaults: true }));

export function healthClient(options) {
  const { addr, credentials } = connect(options);
  return new health.v1.Health(addr, credentials);
}

export function check(client, service) {
  return new Promise((resolve, reject) => {
    client.Check({ service }, { deadline: Date.now() + 20_000 }, (error, answer) =>
      error ? reject(error) : resolve(answer.status),
    );
  });
}
