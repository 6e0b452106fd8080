// The client of `graphql-ws`: a query, a subscription read to its end, one that is given up, and what the server refuses.
// Arguments: URL, file of the authority.
const assert = require('assert');
const { readFileSync } = require('fs');
const { createClient } = require('graphql-ws');
const WebSocket = require('ws');

const [url, authority] = process.argv.slice(2);

class TrustingSocket extends WebSocket {
  constructor(address, protocols) {
    super(address, protocols, { ca: readFileSync(authority) });
  }
}

const options = { url, webSocketImpl: TrustingSocket, retryAttempts: 0, lazy: false, onNonLazyError: () => {} };

async function first(client, query) {
  for await (const result of client.iterate({ query })) {
    return result;
  }
  throw new Error('no result');
}

async function main() {
  const client = createClient(options);
  const socket = await new Promise((resolve) => client.on('connected', resolve));
  assert.strictEqual(socket.protocol, 'graphql-transport-ws');
  assert.deepEqual(await first(client, '{ hello }'), { data: { hello: 'world' } });

  const counted = [];
  for await (const result of client.iterate({ query: 'subscription { count(to: 100) }' })) {
    counted.push(result.data.count);
  }
  assert.deepStrictEqual(counted, Array.from({ length: 100 }, (_, at) => at + 1));
  console.log(`counted to ${counted.length}`);

  // Leaving the loop sends `complete`, at which the server's generator ends.
  let ticks = 0;
  for await (const result of client.iterate({ query: 'subscription { tick }' })) {
    assert.strictEqual(result.data.tick, ticks);
    ticks += 1;
    if (ticks === 5) break;
  }
  while ((await first(client, '{ ticking }')).data.ticking > 0);
  console.log('gave up a subscription');

  const closed = new Promise((resolve) => client.on('closed', resolve));
  await client.dispose();
  assert.strictEqual((await closed).code, 1000);

  // A server's own code and reason (here for a message before `connection_init`) reach the client.
  const rude = new TrustingSocket(url, ['graphql-transport-ws']);
  rude.on('open', () => rude.send('{"id":"1","type":"subscribe","payload":{"query":"{ hello }"}}'));
  const [code, reason] = await new Promise((resolve) => rude.on('close', (...end) => resolve(end)));
  assert.deepStrictEqual([code, reason.toString()], [4401, 'Unauthorized']);
  console.log('closed by 4401');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
