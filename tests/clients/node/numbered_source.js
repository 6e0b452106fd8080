// Events numbered by the clock, so that a source that was killed and started again goes on where it would be. Environment:
// PORT, BEGAN (the time of number 0, in ms), PACE (ms from number to number). Whoever comes gets what is after its
// Last-Event-ID, the newest event in two writes, for something to be killed in between.
const http = require('http');

const began = Number(process.env.BEGAN);
const pace = Number(process.env.PACE);

const server = http.createServer((req, res) => {
  let sent = Number(req.headers['last-event-id'] || 0);
  let half = '';
  res.writeHead(200, { 'Content-Type': 'text/event-stream' });
  // Whoever is cut off comes back soon: two hundred that take their time would take the test's.
  res.write('retry: 50\n\n');
  const timer = setInterval(() => {
    let text = half;
    half = '';
    const newest = Math.floor((Date.now() - began) / pace);
    while (sent < newest) {
      sent += 1;
      const event = `id: ${sent}\ndata: ${sent} ${'-'.repeat(200)}\n\n`;
      if (sent === newest) {
        text += event.slice(0, 100);
        half = event.slice(100);
      } else {
        text += event;
      }
    }
    if (text) res.write(text);
  }, pace / 2);
  res.on('close', () => clearInterval(timer));
});

server.listen(Number(process.env.PORT), '127.0.0.1', () => {
  console.log(`listening on port ${server.address().port}`);
});
