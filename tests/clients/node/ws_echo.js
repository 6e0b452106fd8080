// The README of `ws`: a server that sends back what it gets.
const { WebSocketServer } = require('ws');

const wss = new WebSocketServer({ host: '127.0.0.1', port: process.env.PORT || 8080 }, () => {
  console.log(`listening on port ${wss.address().port}`);
});

wss.on('connection', function connection(ws) {
  ws.on('error', console.error);

  ws.on('message', function message(data, isBinary) {
    ws.send(data, { binary: isBinary });
  });
});
