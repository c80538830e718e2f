//! The presets: names of well-known servers for the paths of their inference calls.

/// A preset: the name of a route, and the inference paths of a well-known server. All take POST.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// The name in a configuration, and the `route` label.
    pub name: &'static str,
    /// The templates.
    pub paths: &'static [&'static str],
}

/// Every preset. The first route that matches a call wins, so `kserve-v1` comes before `tf-serving`, which has the same
/// plain `:predict`.
pub const PRESETS: [Preset; 11] = [
    Preset { name: "score", paths: &["/score", "/score/"] },
    Preset { name: "predict", paths: &["/predict"] },
    Preset { name: "invocations", paths: &["/invocations"] },
    Preset { name: "kserve-v1", paths: &["/v1/models/{model}:predict", "/v1/models/{model}:explain"] },
    Preset {
        name: "kserve-v2",
        paths: &["/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"],
    },
    Preset {
        name: "tf-serving",
        paths: &[
            "/v1/models/{model}:predict",
            "/v1/models/{model}:classify",
            "/v1/models/{model}:regress",
            "/v1/models/{model}/versions/{version}:predict",
            "/v1/models/{model}/versions/{version}:classify",
            "/v1/models/{model}/versions/{version}:regress",
            "/v1/models/{model}/labels/{version}:predict",
            "/v1/models/{model}/labels/{version}:classify",
            "/v1/models/{model}/labels/{version}:regress",
        ],
    },
    Preset { name: "torchserve", paths: &["/predictions/{model}", "/predictions/{model}/{version}"] },
    Preset {
        name: "triton-generate",
        paths: &[
            "/v2/models/{model}/generate",
            "/v2/models/{model}/generate_stream",
            "/v2/models/{model}/versions/{version}/generate",
            "/v2/models/{model}/versions/{version}/generate_stream",
        ],
    },
    Preset { name: "openai", paths: &["/v1/chat/completions", "/v1/completions", "/v1/embeddings"] },
    Preset { name: "seldon", paths: &["/api/v1.0/predictions"] },
    Preset { name: "kserve-grpc", paths: &["/inference.GRPCInferenceService/ModelInfer"] },
];
