// Cloud Storage and Secret Manager over REST, as an agent on Node would call them.
//
// Usage: rest.mjs read|masked|write|refused|held NAME. The result goes to standard output; an error ends the
// program as it ends any program, with its text on standard error.

import { createRequire } from 'node:module';

// The packages are installed apart from this file.
const require = createRequire(`${process.env.TURNPIKE_CLIENT_MODULES}/`);
const { Storage } = require('@google-cloud/storage');
const { GoogleAuth } = require('google-auth-library');

const [step, name] = process.argv.slice(2);
const storage = new Storage({ projectId: 'acme-dev' });
const data = storage.bucket('acme-dev-data');

async function upload(bucket, text) {
  const file = bucket.file(`clients/${name}.txt`);
  await file.save(text, { resumable: false });
  console.log(`${file.name} ${file.metadata.size}`);
}

const steps = {
  read: async () => process.stdout.write((await data.file('hello.txt').download())[0]),
  masked: async () => {
    const auth = new GoogleAuth({ scopes: 'https://www.googleapis.com/auth/cloud-platform' });
    const url =
      'https://secretmanager.googleapis.com/v1/projects/acme-dev/secrets/db-password/versions/latest:access';
    const answer = await auth.request({ url });
    console.log(Buffer.from(answer.data.payload.data, 'base64').toString());
  },
  write: () => upload(data, `written by ${name}\n`),
  refused: () => data.file('hello.txt').delete(),
  held: () => upload(storage.bucket('acme-dev-artifacts'), `held for ${name}\n`),
};
await steps[step]();
