use std::borrow::Cow;

use scoretap_core::route::{
    Captures, Encoding, PRESETS, Route, Template, label, percent_decoded, without_query,
};

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[track_caller]
fn check(template: &str, path: &str, expected: Option<(Option<&str>, Option<&str>)>) {
    let expected = expected.map(|(model, version)| Captures {
        model: model.map(|model| Cow::Borrowed(model.as_bytes())),
        version: version.map(|version| Cow::Borrowed(version.as_bytes())),
    });
    let captures =
        Template::parse(template).unwrap().captures(path.as_bytes(), Encoding::of(path.as_bytes()));
    assert_eq!(captures, expected, "{template} on {path}");
}

#[test]
fn template_without_variables_matches_itself() {
    check("/score", "/score", Some((None, None)));
    for other in ["/score/", "/scor", "/scores", "score", "", "/Score"] {
        check("/score", other, None);
    }
}

#[test]
fn variable_matches_within_one_segment() {
    let template = "/v1/models/{model}:predict";
    check(template, "/v1/models/m:predict", Some((Some("m"), None)));
    check(template, "/v1/models/a:b:predict", Some((Some("a:b"), None)));
    check(template, "/v1/models/:predict:predict", Some((Some(":predict"), None)));
    for other in ["/v1/models/:predict", "/v1/models/m", "/v1/models/a/b:predict", "/v1/models/m:predict/x"] {
        check(template, other, None);
    }
    check("/a/pre-{model}-post/z", "/a/pre-m-post/z", Some((Some("m"), None)));
    check("/a/pre-{model}-post/z", "/a/pre-post/z", None);
    check("/{model}", "/m", Some((Some("m"), None)));
    check("/{model}", "/", None);
    check("/{model}/", "/m/", Some((Some("m"), None)));
}

#[test]
fn encoded_and_plain_paths_match_alike() {
    check("/score", "/%73core", Some((None, None)));
    check("/v1/models/{model}:predict", "/v1/models/iris%3Apredict", Some((Some("iris"), None)));
    check("/v1/models/{model}:predict", "/v%31/models/a%2Fb:predict", Some((Some("a/b"), None)));
    check("/v1/models/{model}:predict", "/v1/models/a%252Fb%3apredict", Some((Some("a%2Fb"), None)));
    check("/v1/models/{model}:predict", "/v1/models/%:predict", Some((Some("%"), None)));
    check("/v1/models/{model}:predict", "/v1/models/%3Apredict", None);
    check("/v1/models/{model}:predict", "/v1%2Fmodels/m:predict", None);
    for path in ["/a%20b/m", "/%61%20%62/%6d", "/a%20b/%6D"] {
        check("/a%20b/{model}", path, Some((Some("m"), None)));
    }
    check("/a%20b/{model}", "/a%2520b/m", None);
    check("/100%25{model}", "/100%25m", Some((Some("m"), None)));
}

#[test]
fn two_variables_match_two_segments() {
    let template = "/v1/models/{model}/versions/{version}:predict";
    check(template, "/v1/models/m/versions/3:predict", Some((Some("m"), Some("3"))));
    check(template, "/v1/models/m/versions/:predict", None);
    check(template, "/v1/models//versions/3:predict", None);
    check("/{version}/{model}", "/3/m", Some((Some("m"), Some("3"))));
    check("/{version}/{model}", "/3/m/", None);
}

#[test]
fn invalid_template_is_rejected_with_fix() {
    let refused = [
        ("score", "\"score\" has no leading slash; write \"/score\""),
        ("a\u{7f}b", r#"write "/a\u{7f}b""#),
        ("/a?b", "contains '?'"),
        ("/a b", "contains ' '"),
        ("/é", "percent-encoded"),
        ("/{model", "has a { without its }"),
        ("/model}", "has a } without its {"),
        ("/{model}}", "has a } without its {"),
        ("/{name}", "the variable {name}; write {model} or {version}"),
        ("/{}", "the variable {}"),
        ("/{model}/{model}", "has {model} twice"),
        ("/{model}{version}", "two variables between two slashes"),
        ("/{model}-{version}", "two variables between two slashes"),
    ];
    for (template, part) in refused {
        let error = Template::parse(template).expect_err(template);
        assert!(error.contains(part), "{template}: {error}");
    }
    assert!(Template::parse(&format!("/{}", "a".repeat(1024))).unwrap_err().contains("at most 1024"));
}

#[test]
fn every_preset_has_all_its_routes() {
    for preset in PRESETS {
        assert_eq!(Route::of_preset(&preset).count(), preset.paths.len(), "{}", preset.name);
    }
}

#[test]
fn query_is_stripped_from_path() {
    for (target, path) in [("/a?b=/c", "/a"), ("/a", "/a"), ("?", ""), ("/a#b?c", "/a"), ("", "")] {
        assert_eq!(without_query(target.as_bytes()), path.as_bytes());
    }
}

#[test]
fn percent_encoding_is_decoded_once() {
    for (written, meant) in [
        ("m", "m"),
        ("a%20b", "a b"),
        ("%e4%bd%a0", "你"),
        ("a%2520b", "a%20b"),
        ("%", "%"),
        ("%2", "%2"),
        ("%g0", "%g0"),
        ("%%41", "%A"),
    ] {
        assert_eq!(percent_decoded(written.as_bytes()), meant.as_bytes(), "{written}");
    }
    assert_eq!(*percent_decoded(b"%ff\xfe%00"), *b"\xff\xfe\0");
}

#[test]
fn label_is_short_utf8_without_nul() {
    let longest = "m".repeat(256);
    for name in ["", "m", "100%25", "a\nb", &longest] {
        assert_eq!(label(Cow::Borrowed(name.as_bytes())).as_deref(), Some(name));
        assert_eq!(label(Cow::Owned(name.as_bytes().to_vec())).as_deref(), Some(name));
    }
    for name in [&b"\xff"[..], b"a\0", "m".repeat(257).as_bytes()] {
        assert_eq!(label(Cow::Borrowed(name)), None, "{name:?}");
        assert_eq!(label(Cow::Owned(name.to_vec())), None, "{name:?}");
    }
}
