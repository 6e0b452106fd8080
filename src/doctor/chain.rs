//! Who is on the way, by what proxies write into heads and certificates. Many write nothing: that none is recognised does
//! not mean that there is none.

use http::header::HeaderMap;

/// A proxy, or a service of proxies, for which there is advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Proxy {
    Nginx,
    Haproxy,
    Caddy,
    Traefik,
    Alb,
    CloudFront,
    Cloudflare,
    Envoy,
    Apache,
    Streamgate,
}

impl Proxy {
    /// Those that advice is given for when nobody is recognised.
    pub(super) const USUAL: [Self; 7] = [
        Self::Nginx,
        Self::Haproxy,
        Self::Caddy,
        Self::Traefik,
        Self::Alb,
        Self::CloudFront,
        Self::Cloudflare,
    ];

    /// What it is called.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Caddy => "Caddy",
            Self::Traefik => "Traefik",
            Self::Alb => "AWS ALB",
            Self::CloudFront => "CloudFront",
            Self::Cloudflare => "Cloudflare",
            Self::Envoy => "Envoy",
            Self::Apache => "Apache",
            Self::Streamgate => "streamgate",
        }
    }
}

/// By what a proxy is known: a field, and a part of its value in lower case (empty: any).
const MARKS: [(&str, &str, Proxy); 22] = [
    ("server", "nginx", Proxy::Nginx),
    ("server", "openresty", Proxy::Nginx),
    ("server", "tengine", Proxy::Nginx),
    ("server", "haproxy", Proxy::Haproxy),
    ("via", "haproxy", Proxy::Haproxy),
    ("server", "caddy", Proxy::Caddy),
    ("via", "caddy", Proxy::Caddy),
    ("server", "traefik", Proxy::Traefik),
    ("server", "awselb", Proxy::Alb),
    ("set-cookie", "awsalb", Proxy::Alb),
    ("x-amzn-trace-id", "", Proxy::Alb),
    ("x-amz-cf-id", "", Proxy::CloudFront),
    ("x-amz-cf-pop", "", Proxy::CloudFront),
    ("via", "cloudfront", Proxy::CloudFront),
    ("x-cache", "cloudfront", Proxy::CloudFront),
    ("cf-ray", "", Proxy::Cloudflare),
    ("server", "cloudflare", Proxy::Cloudflare),
    ("server", "envoy", Proxy::Envoy),
    ("x-envoy-upstream-service-time", "", Proxy::Envoy),
    ("server", "apache", Proxy::Apache),
    ("via", "streamgate", Proxy::Streamgate),
    ("proxy-status", "streamgate", Proxy::Streamgate),
];

/// Someone who was recognised, and by what field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hop {
    /// Who.
    pub(super) proxy: Proxy,
    /// By what.
    pub(super) by: &'static str,
}

/// Who was recognised in these heads, and by the name of the certificate's issuer.
pub(super) fn recognise<'h>(
    heads: impl Iterator<Item = &'h HeaderMap>,
    issuer: Option<&str>,
) -> Vec<Hop> {
    let mut hops: Vec<Hop> = Vec::new();
    let mut note = |proxy, by| {
        if hops.iter().all(|hop| hop.proxy != proxy) {
            hops.push(Hop { proxy, by });
        }
    };
    for head in heads {
        for (field, part, proxy) in MARKS {
            let mut values = head.get_all(field).iter();
            if values.any(|value| contains(value.as_bytes(), part)) {
                note(proxy, field);
            }
        }
    }
    let issuers = [
        ("TRAEFIK DEFAULT CERT", Proxy::Traefik),
        ("Caddy Local Authority", Proxy::Caddy),
        ("Cloudflare", Proxy::Cloudflare),
    ];
    for (part, proxy) in issuers {
        if issuer.is_some_and(|issuer| issuer.contains(part)) {
            note(proxy, "the certificate's issuer");
        }
    }
    hops.sort_by_key(|hop| hop.proxy);
    hops
}

fn contains(value: &[u8], part: &str) -> bool {
    part.is_empty()
        || value
            .windows(part.len())
            .any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(fields: &[(&'static str, &str)], issuer: Option<&str>) -> Vec<Proxy> {
        let mut head = HeaderMap::new();
        for (name, value) in fields {
            head.append(*name, value.parse().unwrap());
        }
        let hops = recognise([&head, &head].into_iter(), issuer);
        hops.into_iter().map(|hop| hop.proxy).collect()
    }

    #[test]
    fn proxies_are_known_by_what_they_write() {
        for (fields, expected) in [
            (&[("server", "nginx/1.22.1")][..], &[Proxy::Nginx][..]),
            (&[("via", "1.1 Caddy")], &[Proxy::Caddy]),
            (
                &[
                    ("server", "cloudflare"),
                    ("cf-ray", "8a"),
                    ("via", "2.0 streamgate"),
                ],
                &[Proxy::Cloudflare, Proxy::Streamgate],
            ),
            (
                &[
                    ("x-cache", "Miss from cloudfront"),
                    ("set-cookie", "AWSALB=x"),
                ],
                &[Proxy::Alb, Proxy::CloudFront],
            ),
            (&[("server", "gunicorn")], &[]),
        ] {
            assert_eq!(found(fields, None), expected, "{fields:?}");
        }
        assert_eq!(
            found(&[], Some("CN=TRAEFIK DEFAULT CERT")),
            [Proxy::Traefik]
        );
    }
}
