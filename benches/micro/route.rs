//! The router: from host, path and method to a route, among few routes and among many.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};

use streamgate::route::Found;

use crate::inputs::{self, Asked, METHOD};

/// A path of which the first segment is known on one host, and nothing behind it.
const UNKNOWN: &str = "/service-0/nothing/here";

/// The first route, the last one, and none, of 10, 1 000 and 10 000.
pub(crate) fn find(c: &mut Criterion) {
    let mut group = c.benchmark_group("route");
    for count in [10, 1_000, 10_000] {
        let router = inputs::router(count);
        let look_ups: [(&str, Asked, bool); 3] = [
            ("first", inputs::asked(0), true),
            ("last", inputs::asked(count - 1), true),
            (
                "none",
                (inputs::asked(count - 1).0, UNKNOWN.to_owned()),
                false,
            ),
        ];
        for (name, (host, path), is_there) in look_ups {
            let found = router.find(&host, &path, &METHOD);
            assert_eq!(found != Found::Nothing, is_there, "{host}{path}");
            group.bench_function(BenchmarkId::new(name, count), |b| {
                b.iter(|| black_box(router.find(black_box(&host), black_box(&path), &METHOD)));
            });
        }
    }
    group.finish();
}
