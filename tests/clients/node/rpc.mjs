// Secret Manager over gRPC, as an agent on Node would call it.
//
// Usage: rpc.mjs read|write|refused|held NAME. The result goes to standard output; an error ends the program
// as it ends any program, with its text on standard error.

import { createRequire } from 'node:module';

// The packages are installed apart from this file.
const require = createRequire(`${process.env.TURNPIKE_CLIENT_MODULES}/`);
const { SecretManagerServiceClient } = require('@google-cloud/secret-manager');

const [step, name] = process.argv.slice(2);
const project = 'projects/acme-dev';
const client = new SecretManagerServiceClient();

const steps = {
  read: async () => {
    const secret = `${project}/secrets/db-password/versions/latest`;
    const [answer] = await client.accessSecretVersion({ name: secret });
    console.log(answer.payload.data.toString());
  },
  write: async () => {
    const payload = { data: Buffer.from(`written by ${name}`) };
    const [version] = await client.addSecretVersion({ parent: `${project}/secrets/api-token`, payload });
    console.log(version.name);
  },
  refused: () => client.deleteSecret({ name: `${project}/secrets/db-password` }),
  held: async () => {
    const secret = { replication: { automatic: {} } };
    const [made] = await client.createSecret({ parent: project, secretId: `held-for-${name}`, secret });
    console.log(made.name);
  },
};
await steps[step]();
