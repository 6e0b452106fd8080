// Server-sent events with nothing but Node's own http: the date, again and again.
const http = require('http');

const page = `<!DOCTYPE html>
<html>
<head><title>Date</title></head>
<body>
<h1 id="date"></h1>
<script>
  const source = new EventSource('/date');
  source.addEventListener('date', (e) => {
    document.getElementById('date').innerHTML = e.data;
  }, false);
</script>
</body>
</html>`;

const server = http.createServer((req, res) => {
  if (req.url === '/date') {
    res.writeHead(200, {
      'Content-Type': 'text/event-stream',
      'Cache-Control': 'no-cache',
      'Connection': 'keep-alive',
    });
    const timer = setInterval(() => {
      res.write(`event: date\ndata: ${new Date().toISOString()}\n\n`);
    }, 200);
    req.on('close', () => clearInterval(timer));
    return;
  }
  res.writeHead(200, { 'Content-Type': 'text/html' });
  res.end(page);
});

server.listen(process.env.PORT || 8000, '127.0.0.1', () => {
  console.log(`listening on port ${server.address().port}`);
});
