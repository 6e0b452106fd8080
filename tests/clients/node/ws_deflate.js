// An echo server of `ws` that compresses, which its default does not: permessage-deflate both ways and for messages of any size.
const { WebSocketServer } = require('ws');

const wss = new WebSocketServer({
  host: '127.0.0.1',
  port: process.env.PORT || 8080,
  perMessageDeflate: { threshold: 0 },
  // The Autobahn testsuite sends 4 MiB in frames of 64 bytes.
  maxFragments: 1 << 17,
}, () => {
  console.log(`listening on port ${wss.address().port}`);
});

wss.on('connection', (ws) => {
  // A client that breaks the protocol ends its own connection and nothing else.
  ws.on('error', () => {});
  ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
});
