// A server of `ws` with permessage-deflate. It sends back what it gets, and does as it is told by these text messages:
// `close CODE REASON` closes with them, `ping PAYLOAD` pings and answers `ponged PAYLOAD`. Of a connection that was closed it
// tells all others: `closed CODE REASON`.
const { WebSocketServer } = require('ws');

const options = { host: '127.0.0.1', port: process.env.PORT || 8080, perMessageDeflate: { threshold: 0 } };
const server = new WebSocketServer(options, () => {
  console.log(`listening on port ${server.address().port}`);
});

function obey(socket, text) {
  const [order, ...words] = text.split(' ');
  if (order === 'close') {
    socket.close(Number(words[0]), words.slice(1).join(' '));
  } else if (order === 'ping') {
    socket.once('pong', (payload) => socket.send(`ponged ${payload}`));
    socket.ping(words.join(' '));
  } else {
    return false;
  }
  return true;
}

server.on('connection', (socket) => {
  socket.on('error', console.error);
  socket.on('message', (data, isBinary) => {
    if (isBinary || !obey(socket, data.toString())) socket.send(data, { binary: isBinary });
  });
  socket.on('close', (code, reason) => {
    for (const other of server.clients) other.send(`closed ${code} ${reason}`);
  });
});
