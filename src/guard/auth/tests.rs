//! From a request to who asks.

use std::net::SocketAddr;

use super::*;
use crate::config::model::Preflight;
use crate::credentials::users::Users;
use crate::http::problem::Problem;

fn auth(name: &str, method: AuthMethod) -> Arc<Auth> {
    let config = model::Auth {
        name: name.into(),
        method,
        preflight: Preflight::Refuse,
        recheck: None,
        tickets: true,
    };
    Auth::new(Arc::new(config), None)
}

/// `ann` with the password `Hello world!`.
fn basic() -> Arc<Auth> {
    let mut users = Users::default();
    let hash = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";
    users.add("ann", hash).unwrap();
    let realm = "the app".to_owned();
    auth("staff", AuthMethod::Basic(Basic { users, realm }))
}

async fn asked(auth: &Auth, credentials: Option<&str>) -> Result<Known, Refusal> {
    let mut request = Request::new(());
    if let Some(credentials) = credentials {
        let value = HeaderValue::try_from(credentials).unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    let client: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let seen = Seen {
        origin: &Origin::of_connection(client, "https", 443),
        host: &RequestHost::parse("app.example").unwrap(),
        certificate: None,
    };
    let shown = auth.take(&mut request, &seen);
    auth.judge(&shown, None).await
}

#[tokio::test]
async fn a_password_is_verified_and_remembered_as_right_only() {
    let auth = basic();
    let right = "Basic YW5uOkhlbGxvIHdvcmxkIQ==";
    for _twice in 0..2 {
        let known = asked(&auth, Some(right)).await.unwrap();
        assert_eq!((known.user.as_deref(), known.expires), (Some("ann"), None));
    }
    for wrong in [
        "Basic YW5uOkhlbGxvIHdvcmxk",     // ann:Hello world
        "Basic ZXZlOkhlbGxvIHdvcmxkIQ==", // eve:Hello world!
        "Basic YW5u",                     // ann
        "Basic ====",
        "Basic ",
    ] {
        let refused = asked(&auth, Some(wrong)).await.unwrap_err();
        assert!(matches!(refused, Refusal::Password), "{wrong}: {refused}");
    }
    for missing in [None, Some("Bearer x"), Some("Basic")] {
        let refused = asked(&auth, missing).await.unwrap_err();
        assert!(matches!(refused, Refusal::Missing), "{missing:?}");
    }
}

#[test]
fn a_challenge_tells_no_more_than_a_client_needs() {
    let told = |auth: &Auth, refusal: &Refusal| match problem(auth, refusal) {
        Problem::Challenged(challenge) => challenge.to_str().unwrap().to_owned(),
        other => panic!("{other:?}"),
    };
    let one = told(&basic(), &Refusal::Password);
    assert_eq!(one, "Basic realm=\"the app\", charset=\"UTF-8\"");
    assert_eq!(told(&basic(), &Refusal::Missing), one);
    let jwt = auth(
        "users",
        AuthMethod::Jwt(Jwt {
            keys: Keys::Given(KeySet::of_secret(&[b'x'; 32]).unwrap()),
            rules: jwt::Rules {
                algorithms: None,
                issuer: Vec::new(),
                audience: Vec::new(),
                leeway: Duration::ZERO,
                required: Vec::new(),
            },
            from: Vec::new(),
            claims: Vec::new(),
            user: "sub".to_owned(),
        }),
    );
    assert_eq!(told(&jwt, &Refusal::Missing), "Bearer realm=\"users\"");
    let bad = "Bearer realm=\"users\", error=\"invalid_token\"";
    for refusal in [
        Refusal::Token(TokenError::Signature),
        Refusal::Token(TokenError::Audience),
        Refusal::Ambiguous,
        Refusal::Nameless,
        Refusal::Ticket,
    ] {
        assert_eq!(told(&jwt, &refusal), bad);
    }
    let expired = told(&jwt, &Refusal::Token(TokenError::Expired));
    assert!(expired.starts_with(bad) && expired.contains("expired"));
}

#[test]
fn a_field_that_the_token_does_not_fill_is_not_the_client_s() {
    let name = HeaderName::from_static;
    let known = Known {
        user: Some("ann".into()),
        expires: None,
        pass: None,
        fields: vec![
            (name("x-user"), Some(HeaderValue::from_static("ann"))),
            (name("x-roles"), None),
        ],
    };
    let mut headers = HeaderMap::new();
    for (field, value) in [
        ("x-user", "eve"),
        ("x_user", "eve"),
        ("x-roles", "admin"),
        ("x_roles", "admin"),
        ("x-other", "stays"),
    ] {
        headers.append(name(field), HeaderValue::from_static(value));
    }
    headers.append(name("x-user"), HeaderValue::from_static("eve"));
    known.tell_in(&mut headers);
    let left: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(headers["x-user"], "ann");
    assert_eq!(headers["x-other"], "stays");
}
