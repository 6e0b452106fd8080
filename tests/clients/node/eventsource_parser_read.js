// `eventsource-parser` over fetch: posts a question, prints each event of the answer as JSON, and leaves in the middle after
// as many as it is told. Arguments: URL, the number of events. The authority is trusted by NODE_EXTRA_CA_CERTS.
const { EventSourceParserStream } = require('eventsource-parser/stream');

const [url, count] = process.argv.slice(2);

async function main() {
  const leaving = new AbortController();
  const response = await fetch(url, { method: 'POST', body: 'question', signal: leaving.signal });
  const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  const reader = events.getReader();
  for (let left = Number(count); left > 0; left -= 1) {
    const { value, done } = await reader.read();
    if (done) throw new Error('the stream has ended');
    console.log(JSON.stringify([value.event ?? 'message', value.data, value.id ?? '']));
  }
  leaving.abort();
  // The process goes on until it is told that the other side has noticed.
  process.stdin.resume();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
