//! `[auth.NAME]`: keys and users are read here, so that a mistake in a file is told where the file is named. No message
//! holds a secret or a hash.

use std::sync::Arc;

use http::HeaderName;
use http::header::{ACCEPT, ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE, ORIGIN, USER_AGENT};

use crate::config::check::server_tls::{self, Peers};
use crate::config::check::{Context, file, seconds, secret};
use crate::config::diagnostic::Place;
use crate::config::model::{
    Auth, AuthMethod, Basic, Forward, Jwt, Keys, Preflight, Remote, TokenPlace,
};
use crate::config::schema::auth::{self, AuthUrl, KeySource};
use crate::config::schema::collection::OneOrMany;
use crate::config::schema::decode::{Field, Located};
use crate::config::schema::scalar::Text;
use crate::config::schema::table::Table;
use crate::config::schema::upstream::UpstreamTls;
use crate::credentials::jwt::{Algorithm, KeyError, KeySet, Rules};
use crate::credentials::password::HashError;
use crate::credentials::users::{UserError, Users};
use crate::net::Scheme;

/// `None`: it is wrong, which has been told.
pub(crate) fn check(name: Arc<str>, table: &auth::Auth, context: &mut Context<'_>) -> Option<Auth> {
    let given = [table.jwt.key(), table.basic.key(), table.forward.key()];
    let broken = matches!(table.jwt, Field::Broken)
        || matches!(table.basic, Field::Broken)
        || matches!(table.forward, Field::Broken);
    let mut given = given.into_iter().flatten();
    if given.next().is_none() && !broken && !table.has_unknown_key() {
        let message = format!("`[auth.{name}]` does not say how it is known who asks");
        context
            .diagnostics
            .error(table.place(), message)
            .hint("`jwt = { … }`, `basic = { … }` or `forward = { … }` says it");
    }
    for second in given {
        let message = "an `[auth.NAME]` has exactly one of `jwt`, `basic` and `forward`";
        context.diagnostics.error(second, message);
    }
    let method = match (&table.jwt, &table.basic, &table.forward) {
        (Field::Given { value, .. }, ..) => AuthMethod::Jwt(jwt(&value.value, context)?),
        (_, Field::Given { value, .. }, _) => {
            AuthMethod::Basic(basic(&name, &value.value, context)?)
        }
        (.., Field::Given { value, .. }) => AuthMethod::Forward(forward(&value.value, context)?),
        _ => return None,
    };
    let is_forward = matches!(method, AuthMethod::Forward(_));
    let tickets = table.tickets.located();
    if let Some(on) = tickets.filter(|on| on.value && is_forward) {
        let message = "`tickets` cannot be had with `forward`: what a client shows is for the other server alone";
        let finding = context.diagnostics.error(on.place, message);
        finding.hint("an EventSource sends the cookies of that server's domain");
    }
    Some(Auth {
        name,
        method,
        preflight: table.preflight.map_or(Preflight::Refuse, |word| word.0),
        recheck: table.recheck.map_or(None, |limit| limit.0),
        tickets: tickets.is_none_or(|on| on.value) && !is_forward,
    })
}

fn forward(table: &auth::Forward, context: &mut Context<'_>) -> Option<Forward> {
    let Some(url) = table.url.located() else {
        if table.url.is_absent() && !table.has_unknown_key() {
            let finding = context
                .diagnostics
                .error(table.place(), "`forward` has no `url`");
            finding.hint("`url = \"http://127.0.0.1:4180/auth\"`");
        }
        return None;
    };
    let asks_with = table
        .headers_request
        .value()
        .map_or_else(usual_fields, |list| {
            list.0.iter().map(|it| it.value.0.clone()).collect()
        });
    let tells = table.headers_response.map_or(Vec::new(), |list| {
        list.0.iter().map(|it| it.value.0.clone()).collect()
    });
    Some(Forward {
        at: remote(&url.value, url.place, &table.tls, context)?,
        timeout: table.timeout.map_or(seconds(5), |time| time.0),
        asks_with,
        tells,
        user: table.user.map_or(None, |name| Some(name.0.clone())),
        lease: table.lease.map_or(None, |name| Some(name.0.clone())),
    })
}

/// What servers that know users go by.
fn usual_fields() -> Vec<HeaderName> {
    let asked_by_script = HeaderName::from_static("x-requested-with");
    let usual = [ACCEPT, ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE, ORIGIN];
    usual
        .into_iter()
        .chain([USER_AGENT, asked_by_script])
        .collect()
}

/// `None`: its TLS is wrong, which has been told.
fn remote(
    url: &AuthUrl,
    place: Place,
    tls: &Field<UpstreamTls>,
    context: &mut Context<'_>,
) -> Option<Remote> {
    let peers = Peers {
        speak_tls: url.server.scheme == Scheme::Https,
        place,
        without: Some("`tls` has no effect: the URL is not `https://`"),
    };
    let tls = server_tls::check(tls, &peers, context);
    if peers.speak_tls && tls.is_none() {
        return None;
    }
    Some(Remote {
        server: url.server.clone(),
        path: url.path.clone(),
        tls,
    })
}

fn jwt(table: &auth::Jwt, context: &mut Context<'_>) -> Option<Jwt> {
    let keys = keys(table, context);
    let texts = |list: &Field<OneOrMany<Text>>| -> Vec<String> {
        let list = list.value().map_or(&[][..], |list| &list.0);
        list.iter().map(|text| text.value.value.clone()).collect()
    };
    let required = table.required.value().map_or_else(
        || vec!["exp".to_owned()],
        |list| list.0.iter().map(|it| it.value.value.clone()).collect(),
    );
    if !required.iter().any(|claim| claim == "exp") {
        let place = table.required.key().unwrap_or(table.place());
        let message = "tokens without `exp` are taken: they can never be made invalid";
        context.diagnostics.warning(place, message);
    }
    let from = table.from.value().map_or_else(
        || vec![TokenPlace::Header],
        |list| list.0.iter().map(|it| it.value.0.clone()).collect(),
    );
    if from.is_empty() {
        let place = table.from.key().unwrap_or(table.place());
        let finding = context
            .diagnostics
            .error(place, "`from` is empty: no token would ever be found");
        finding.hint("leave it out for `[\"header\"]`");
    }
    let keys = keys?;
    let algorithms = algorithms(table, &keys, context);
    Some(Jwt {
        rules: Rules {
            algorithms,
            issuer: texts(&table.issuer),
            audience: texts(&table.audience),
            leeway: table.leeway.map_or(seconds(10), |time| time.0),
            required,
        },
        from,
        claims: table.claims.map_or(Vec::new(), |claims| claims.0.clone()),
        user: table.user.map_or("sub", |text| &text.value).to_owned(),
        keys,
    })
}

/// Told where one of them could never be used: with a secret among public keys it is how tokens are forged.
fn algorithms(table: &auth::Jwt, keys: &Keys, context: &mut Context<'_>) -> Option<Vec<Algorithm>> {
    let listed = table.algorithms.located()?;
    if listed.value.0.is_empty() {
        let finding = context.diagnostics.error(
            listed.place,
            "`algorithms` is empty: no token could be signed",
        );
        finding.hint("leave it out for all that the keys are for");
    }
    let usable = match keys {
        Keys::Given(keys) => keys.algorithms(),
        Keys::At(_) => KeySet::public_algorithms(),
    };
    for algorithm in &listed.value.0 {
        if usable.contains(&algorithm.value.0) {
            continue;
        }
        let typed = context.typed(algorithm.place);
        let message = format!("`{typed}` cannot be used with these keys");
        let usable: Vec<String> = usable.iter().map(|it| format!("`{it:?}`")).collect();
        let hint = format!("they are for {}", usable.join(", "));
        context
            .diagnostics
            .error(algorithm.place, message)
            .hint(hint);
    }
    Some(listed.value.0.iter().map(|it| it.value.0).collect())
}

/// The keys from the one place that is given.
fn keys(table: &auth::Jwt, context: &mut Context<'_>) -> Option<Keys> {
    let given = [table.jwks.key(), table.key.key(), table.secret.key()];
    let broken = matches!(table.jwks, Field::Broken)
        || matches!(table.key, Field::Broken)
        || matches!(table.secret, Field::Broken);
    let count = given.iter().flatten().count();
    if count != 1 && !broken && !(count == 0 && table.has_unknown_key()) {
        let place = given.into_iter().flatten().nth(1).unwrap_or(table.place());
        let message = "`jwt` has exactly one of `jwks`, `key` and `secret`";
        context.diagnostics.error(place, message);
    }
    if count != 1 {
        return None;
    }
    let is_url = matches!(table.jwks.value(), Some(KeySource::Url(_)));
    if let Some(tls) = table.tls.key().filter(|_| !is_url) {
        let message = "`tls` has no effect: the keys are not at a URL";
        context.diagnostics.warning(tls, message);
    }
    if let Some(jwks) = table.jwks.located() {
        return match &jwks.value {
            KeySource::Url(url) => fetched(url, jwks.place, table, context),
            KeySource::File(file) => {
                let value = file.clone();
                let place = jwks.place;
                of_file(&Located { value, place }, KeySet::of_jwks, context)
            }
        };
    }
    if let Some(key) = table.key.located() {
        return of_file(key, KeySet::of_pem, context);
    }
    let located = table.secret.located()?;
    let secret = secret::resolve(located, context)?;
    let keys = KeySet::of_secret(secret.as_bytes());
    keys.map(Keys::Given)
        .map_err(|error| {
            let finding = context.diagnostics.error(located.place, error.to_string());
            finding.hint("`openssl rand -hex 32` makes one");
        })
        .ok()
}

/// Whoever can change the keys on their way can make tokens.
fn fetched(
    url: &AuthUrl,
    place: Place,
    table: &auth::Jwt,
    context: &mut Context<'_>,
) -> Option<Keys> {
    if url.server.scheme != Scheme::Https {
        let message = "keys that come by `http://` can be changed on their way";
        let finding = context.diagnostics.warning(place, message);
        finding.hint("`https://`, unless nobody but the two is on that network");
    }
    remote(url, place, &table.tls, context).map(Keys::At)
}

fn of_file(
    name: &Located<Text>,
    read: fn(&[u8]) -> Result<KeySet, KeyError>,
    context: &mut Context<'_>,
) -> Option<Keys> {
    let bytes = file::read(name, context)?;
    read(&bytes)
        .map(Keys::Given)
        .map_err(|error| {
            let message = format!("`{}` {error}", context.typed(name.place));
            let finding = context.diagnostics.error(name.place, message);
            if error == KeyError::Private {
                finding.hint("`openssl pkey -in KEY -pubout -out NEW` takes the public one out");
            }
        })
        .ok()
}

fn basic(name: &str, table: &auth::Basic, context: &mut Context<'_>) -> Option<Basic> {
    let realm = table.realm.map_or(name, |realm| &realm.0).to_owned();
    let users = match table.users.value() {
        Some(auth::Users::File(file)) => users_of_file(file, context)?,
        Some(auth::Users::Table(listed)) => users_of_table(listed, context),
        None => {
            if table.users.is_absent() && !table.has_unknown_key() {
                context
                    .diagnostics
                    .error(table.place(), "`basic` has no `users`");
            }
            return None;
        }
    };
    if users.is_empty() && context.diagnostics.is_empty() {
        let place = table.users.key().unwrap_or(table.place());
        let message = "there are no users: nobody could ever pass";
        context.diagnostics.error(place, message);
    }
    Some(Basic { users, realm })
}

fn users_of_file(name: &Located<Text>, context: &mut Context<'_>) -> Option<Users> {
    let bytes = file::read(name, context)?;
    let typed = context.typed(name.place);
    let Ok(text) = std::str::from_utf8(&bytes) else {
        let message = format!("`{typed}` is not UTF-8");
        context.diagnostics.error(name.place, message);
        return None;
    };
    match Users::of_file(text) {
        Ok(users) => Some(users),
        Err(error) => {
            let message = format!("`{typed}`: {error}");
            tell(name.place, message, &error.fault, context);
            None
        }
    }
}

fn users_of_table(listed: &[(String, Located<Text>)], context: &mut Context<'_>) -> Users {
    let mut users = Users::default();
    for (name, hash) in listed {
        if let Err(fault) = users.add(name, &hash.value.value) {
            tell(hash.place, fault.to_string(), &fault, context);
        }
    }
    users
}

fn tell(place: Place, message: String, fault: &UserError, context: &mut Context<'_>) {
    let finding = context.diagnostics.error(place, message);
    if let UserError::Hash(HashError::Weak(_) | HashError::Unknown) = fault {
        finding.hint("`htpasswd -B` and `mkpasswd -m sha512crypt` make hashes that are taken");
    }
}
