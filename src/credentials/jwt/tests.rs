//! Tokens as they should be, and each way in which they have been forged.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_800_000_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn rules() -> Rules {
    Rules {
        algorithms: None,
        issuer: vec!["https://id.test".to_owned()],
        audience: vec!["app".to_owned(), "api".to_owned()],
        leeway: Duration::from_secs(10),
        required: vec!["exp".to_owned()],
    }
}

fn good() -> Value {
    json!({"sub": "ann", "iss": "https://id.test", "aud": "app", "exp": NOW + 60})
}

fn with(change: &str, value: Value) -> Value {
    let mut claims = good();
    claims[change] = value;
    claims
}

fn hmac(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET);
    encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

fn judged(token: &str) -> Result<Claims, TokenError> {
    verify(token, &KeySet::of_secret(SECRET).unwrap(), &rules(), now())
}

fn part(json: &str) -> String {
    URL_SAFE_NO_PAD.encode(json)
}

struct Ec(rcgen::KeyPair);

impl Ec {
    fn new() -> Self {
        Self(rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap())
    }

    fn jwk(&self, id: &str) -> Value {
        // An uncompressed point: 4, x, y.
        let point = self.0.public_key_raw();
        let [x, y] = [&point[1..33], &point[33..]].map(|half| URL_SAFE_NO_PAD.encode(half));
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": id, "x": x, "y": y})
    }

    fn sign(&self, id: Option<&str>, claims: &Value) -> String {
        let header = Header {
            kid: id.map(ToOwned::to_owned),
            ..Header::new(Algorithm::ES256)
        };
        encode(
            &header,
            claims,
            &EncodingKey::from_ec_der(&self.0.serialize_der()),
        )
        .unwrap()
    }
}

fn set(keys: &[Value]) -> KeySet {
    KeySet::of_jwks(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

#[test]
fn a_good_token_says_who_it_is_and_until_when() {
    let claims = judged(&hmac(&good())).unwrap();
    assert_eq!(claims.text("sub").as_deref(), Some("ann"));
    let end = UNIX_EPOCH + Duration::from_secs(NOW + 60);
    assert_eq!(claims.expires(), Some(end));
}

#[test]
fn claims_are_as_the_rules_want_them() {
    use TokenError::{Audience, Claim, Expired, Issuer, NotYet};
    let lacks = |name: &str| Some(Claim(name.to_owned()));
    let table = [
        (with("exp", json!(NOW - 9)), None),
        (with("exp", json!(NOW - 10)), Some(Expired)),
        (with("exp", json!(0)), Some(Expired)),
        (with("exp", json!("2099")), lacks("exp")),
        (with("exp", json!(-1)), lacks("exp")),
        (with("exp", json!(1e300)), lacks("exp")),
        (with("exp", Value::Null), lacks("exp")),
        (with("nbf", json!(NOW + 10)), None),
        (with("nbf", json!(NOW + 11)), Some(NotYet)),
        (with("nbf", json!("x")), lacks("nbf")),
        (with("aud", json!("other")), Some(Audience)),
        (with("aud", json!(["other", "api"])), None),
        (with("aud", json!(["other"])), Some(Audience)),
        (with("aud", json!(7)), Some(Audience)),
        (with("aud", json!([])), Some(Audience)),
        (with("aud", json!("APP")), Some(Audience)),
        (with("iss", json!("https://id.test/")), Some(Issuer)),
        (with("iss", json!(null)), Some(Issuer)),
    ];
    for (claims, error) in table {
        assert_eq!(judged(&hmac(&claims)).err(), error, "{claims}");
    }
    let mut bare = good();
    bare.as_object_mut().unwrap().remove("exp");
    assert_eq!(judged(&hmac(&bare)).err(), lacks("exp"));
    bare.as_object_mut().unwrap().remove("aud");
    bare["exp"] = json!(NOW + 1);
    assert_eq!(judged(&hmac(&bare)).err(), Some(Audience));
}

#[test]
fn without_a_signature_nothing_is_believed() {
    let claims = part(&good().to_string());
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = part(&format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#));
        for token in [
            format!("{header}.{claims}."),
            format!("{header}.{claims}.x"),
        ] {
            assert_eq!(judged(&token), Err(TokenError::Malformed), "{alg}");
        }
    }
    let whole = hmac(&good());
    let (message, signature) = whole.rsplit_once('.').unwrap();
    assert_eq!(judged(&format!("{message}.")), Err(TokenError::Signature));
    assert!(judged(message).is_err());
    let other = hmac(&with("sub", json!("eve")));
    let (other, _) = other.rsplit_once('.').unwrap();
    assert_eq!(
        judged(&format!("{other}.{signature}")),
        Err(TokenError::Signature)
    );
    for token in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        &format!("{whole}.x"),
        &format!("{whole}="),
    ] {
        assert!(judged(token).is_err(), "{token}");
    }
}

#[test]
fn a_public_key_is_no_secret() {
    let pair = Ec::new();
    let pem = pair.0.public_key_pem();
    let keys = KeySet::of_pem(pem.as_bytes()).unwrap();
    assert_eq!(keys.algorithms(), [Algorithm::ES256]);
    let judged = |token: &str| verify(token, &keys, &rules(), now());
    assert!(judged(&pair.sign(None, &good())).is_ok());
    // The classic: an HMAC with the public key, which everybody has, as its secret.
    for secret in [
        pem.as_bytes(),
        pem.trim().as_bytes(),
        pair.0.public_key_raw(),
    ] {
        let key = EncodingKey::from_secret(secret);
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let token = encode(&Header::new(algorithm), &good(), &key).unwrap();
            assert_eq!(judged(&token), Err(TokenError::Algorithm));
        }
    }
    // Another key of the same kind.
    assert_eq!(
        judged(&Ec::new().sign(None, &good())),
        Err(TokenError::Signature)
    );
    // The rules may allow less than the keys.
    let fewer = Rules {
        algorithms: Some(vec![Algorithm::RS256]),
        ..rules()
    };
    let token = pair.sign(None, &good());
    assert_eq!(
        verify(&token, &keys, &fewer, now()),
        Err(TokenError::Algorithm)
    );
}

#[test]
fn a_key_is_found_by_its_name_alone() {
    let (one, other) = (Ec::new(), Ec::new());
    let keys = set(&[one.jwk("one"), other.jwk("other")]);
    let judged = |token: &str| verify(token, &keys, &rules(), now()).err();
    assert_eq!(judged(&one.sign(Some("one"), &good())), None);
    assert_eq!(judged(&other.sign(Some("other"), &good())), None);
    // Without a name each is tried.
    assert_eq!(judged(&other.sign(None, &good())), None);
    assert_eq!(
        judged(&other.sign(Some("one"), &good())),
        Some(TokenError::Signature)
    );
    for id in [
        "../../../dev/null",
        "/etc/passwd",
        "one\0",
        "' OR 1=1",
        "http://evil.test/k",
    ] {
        let error = judged(&one.sign(Some(id), &good()));
        assert_eq!(error, Some(TokenError::UnknownKey), "{id}");
    }
}

#[test]
fn a_token_cannot_bring_its_own_key() {
    let (ours, theirs) = (Ec::new(), Ec::new());
    let keys = set(&[ours.jwk("k")]);
    let header = Header {
        kid: Some("k".to_owned()),
        jwk: serde_json::from_value(theirs.jwk("k")).ok(),
        jku: Some("https://evil.test/jwks.json".to_owned()),
        ..Header::new(Algorithm::ES256)
    };
    let key = EncodingKey::from_ec_der(&theirs.0.serialize_der());
    let token = encode(&header, &good(), &key).unwrap();
    let error = verify(&token, &keys, &rules(), now());
    assert_eq!(error, Err(TokenError::Signature));
    let header = Header {
        crit: Some(vec!["b64".to_owned()]),
        ..Header::new(Algorithm::HS256)
    };
    let token = encode(&header, &good(), &EncodingKey::from_secret(SECRET)).unwrap();
    assert_eq!(judged(&token), Err(TokenError::Critical));
}

#[test]
fn a_huge_token_is_not_looked_at() {
    let token = hmac(&with("x", json!("y".repeat(MAX_TOKEN))));
    assert_eq!(judged(&token), Err(TokenError::TooLong));
}

#[test]
fn sets_hold_public_keys_for_signatures() {
    let pair = Ec::new();
    let mut encrypts = pair.jwk("e");
    encrypts["use"] = json!("enc");
    let secret = json!({"kty": "oct", "kid": "s", "k": part("0123456789abcdef0123456789abcdef")});
    let strange = json!({"kty": "LMS", "kid": "x"});
    let of = |keys: &[Value]| KeySet::of_jwks(json!({ "keys": keys }).to_string().as_bytes());
    let all = [
        encrypts.clone(),
        secret.clone(),
        strange.clone(),
        pair.jwk("k"),
    ];
    assert_eq!(of(&all).unwrap().algorithms(), [Algorithm::ES256]);
    assert_eq!(
        of(&[encrypts, secret, strange]).err(),
        Some(KeyError::Empty)
    );
    assert_eq!(of(&vec![pair.jwk("k"); 65]).err(), Some(KeyError::TooMany));
    for json in ["", "[]", "{}", r#"{"keys":{}}"#, "null"] {
        assert_eq!(
            KeySet::of_jwks(json.as_bytes()).err(),
            Some(KeyError::NotJwks)
        );
    }
    assert_eq!(
        KeySet::of_secret(&SECRET[1..]).err(),
        Some(KeyError::ShortSecret)
    );
    let private = pair.0.serialize_pem();
    assert_eq!(
        KeySet::of_pem(private.as_bytes()).err(),
        Some(KeyError::Private)
    );
    assert_eq!(KeySet::of_pem(b"x").err(), Some(KeyError::NotPem));
    let debug = format!("{:?}", KeySet::of_secret(SECRET));
    assert!(
        !debug.contains("0123") && !debug.contains("48, 49"),
        "{debug}"
    );
}

#[test]
fn claims_are_told_as_text() {
    let claims = json!({"n": 7, "b": true, "l": ["a", "b"], "o": {"x/y": ["r"]}, "m": ["a", {}], "c": ["x,admin"], "s": "x,y", "https://ns/r": "q"});
    let Value::Object(claims) = claims else {
        unreachable!()
    };
    let claims = Claims(claims);
    for (name, text) in [
        ("n", Some("7")),
        ("b", Some("true")),
        ("l", Some("a,b")),
        ("/o/x~1y", Some("r")),
        ("/l/1", Some("b")),
        ("https://ns/r", Some("q")),
        ("o", None),
        ("m", None),
        ("c", None),
        ("s", Some("x,y")),
        ("none", None),
        ("/o/none", None),
    ] {
        assert_eq!(claims.text(name).as_deref(), text, "{name}");
        let single = text.filter(|_text| !["l", "/o/x~1y"].contains(&name));
        assert_eq!(
            claims.single(name).as_deref(),
            single,
            "{name}: a list is none"
        );
    }
}

proptest::proptest! {
    #[test]
    fn nothing_but_the_token_itself_passes(at in 0..200usize, bit in 0..7u32) {
        let token = hmac(&good());
        let at = at % token.len();
        let mut bytes = token.clone().into_bytes();
        bytes[at] ^= 1 << bit;
        if let Ok(changed) = String::from_utf8(bytes) {
            proptest::prop_assert!(judged(&changed).is_err());
        }
    }

    #[test]
    fn no_text_panics(token in "[A-Za-z0-9_.=-]{0,300}") {
        let _ = judged(&token);
    }
}
