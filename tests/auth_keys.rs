//! Keys for tokens that are fetched from where their maker publishes them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};

use crate::auth::ask;
use crate::harness::{
    Backend, Directory, Gate, TlsBackend, authority_file, echo_http, leaf, server_config,
};

/// A key on the curve P-256 that calls itself `id`.
struct Signer {
    pair: KeyPair,
    id: &'static str,
}

impl Signer {
    fn new(id: &'static str) -> Self {
        let pair = KeyPair::generate().unwrap();
        Self { pair, id }
    }

    fn jwk(&self) -> Value {
        // 4, and the two coordinates (SEC 1 §2.3.3).
        let point = self.pair.der_bytes();
        assert_eq!(point.len(), 65);
        let coordinate = |range| URL_SAFE_NO_PAD.encode(&point[range]);
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "kid": self.id,
            "x": coordinate(1..33), "y": coordinate(33..65),
        })
    }

    fn token(&self, id: &str) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(id.to_owned());
        let claims = json!({"sub": "ann", "exp": 4_000_000_000u64});
        let key = EncodingKey::from_ec_pem(self.pair.serialize_pem().as_bytes()).unwrap();
        encode(&header, &claims, &key).unwrap()
    }
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_fetched_by_https_and_until_then_nobody_is_refused_for_good() {
    let backend = Backend::that(echo_http).await;
    let directory = Directory::new();
    leaf(&["localhost", "127.0.0.1"]).write(directory.path(), "gate");
    authority_file(directory.path());
    let maker = TlsBackend::start(server_config(&["127.0.0.1"], &[])).await;
    let config = format!(
        "{}auth = \"users\"\n[auth.users.jwt]\njwks = \"https://{}/keys?a=b\"\ntls = {{ ca = \"authority.pem\" }}\n",
        backend.for_everything(),
        maker.address,
    );
    let gate = Gate::start_in(directory, &config).await;
    let signer = Signer::new("one");
    let bearer = |token: String| format!("Authorization: Bearer {token}\r\n");
    let good = bearer(signer.token("one"));
    let huge = format!("{{\"keys\":[{}]}}", " ".repeat(300 * 1024));
    for refused in [
        answer("503 Service Unavailable", ""),
        answer("302 Found\r\nLocation: http://127.0.0.1:1/", ""),
        answer("200 OK", &huge),
    ] {
        let mut wire = maker.next().await.unwrap();
        let question = wire.head().await;
        assert_eq!(question.target(), "/keys?a=b");
        // It may be cut off in the middle of too long an answer.
        let _ = wire.try_send(refused.as_bytes()).await;
        let line =
            |line: &crate::harness::Line| line.message() == "no keys for tokens were fetched";
        gate.logged("the failure", line).await;
    }
    let asked = ask(&gate, "/x", &good);
    let (told, ()) = tokio::join!(asked, async {
        let mut wire = maker.next().await.unwrap();
        wire.head().await;
        let keys = json!({"keys": [signer.jwk()]}).to_string();
        wire.send(answer("200 OK", &keys)).await;
    });
    // It has waited for them, or was told to come again.
    if told.0.status() != 200 {
        assert_eq!(told.0.status(), 503);
        assert_eq!(told.0.get("retry-after"), Some("5"));
    }
    gate.logged("the keys", |line| {
        line.message() == "keys for tokens were fetched"
    })
    .await;
    assert_eq!(ask(&gate, "/x", &good).await.0.status(), 200);
    // What is signed by somebody else is not taken, whatever key it names.
    let other = Signer::new("two");
    for forged in [
        other.token("one"),
        other.token("two"),
        other.token("../../etc/passwd"),
        other.token("https://evil.example/keys"),
    ] {
        let (head, _body) = ask(&gate, "/x", &bearer(forged)).await;
        assert_eq!(head.status(), 401);
    }
    assert!(backend.requests().iter().all(|it| it.target() == "/x"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_does_not_wait_for_keys() {
    let backend = Backend::that(echo_http).await;
    let config = format!(
        "{}auth = \"users\"\n[auth.users.jwt]\njwks = \"{}/keys\"\n",
        backend.for_everything(),
        crate::harness::refusing(),
    );
    let gate = Gate::start(&config).await;
    let signed = format!(
        "Authorization: Bearer {}\r\n",
        Signer::new("one").token("one")
    );
    let (head, _body) = ask(&gate, "/x", &signed).await;
    assert_eq!(head.status(), 503);
    // Who shows nothing needs no keys to be refused.
    assert_eq!(ask(&gate, "/x", "").await.0.status(), 401);
    gate.logged("that it is told", |line| {
        line.message() == "no keys for tokens were fetched"
    })
    .await;
}
