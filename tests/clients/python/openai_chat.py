"""The OpenAI client with `stream=True`: prints each token as it comes, and closes the stream after as many as it is told.

Arguments: URL of the API, file of the authority, `1` or `2` for the version of HTTP, the number of tokens. It then waits for
its stdin to end: that the stream is closed must be seen at the other side while the client lives on.
"""

import ssl
import sys

import openai

url, authority, version, count = sys.argv[1:]
trust = ssl.create_default_context(cafile=authority)
transport = openai.DefaultHttpxClient(verify=trust, http2=version == "2", trust_env=False)
client = openai.OpenAI(base_url=url, api_key="none", http_client=transport, max_retries=0, timeout=15)
stream = client.chat.completions.create(
    model="tiny", messages=[{"role": "user", "content": "Say hello"}], stream=True
)
print(stream.response.http_version, flush=True)
left = int(count)
for chunk in stream:
    print(chunk.choices[0].delta.content, flush=True)
    left -= 1
    if left == 0:
        break
else:
    print("end", flush=True)
stream.close()
if version == "2":
    # Over HTTP/2 httpcore closes a response in silence, without RST_STREAM: only the connection's end tells the server.
    client.close()
sys.stdin.read()
