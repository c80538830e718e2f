//! The presets: names of well-known servers for the paths of their inference calls.

/// A preset: the name of a route, and the inference paths of a well-known server. All take POST.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// The name in a configuration, and the `route` label.
    pub name: &'static str,
    /// The templates.
    pub paths: &'static [&'static str],
    /// Whether the body names the model.
    pub names_model_in_body: bool,
    /// Whether the answers are an LLM's.
    pub is_llm: bool,
}

const fn preset(name: &'static str, paths: &'static [&'static str]) -> Preset {
    Preset { name, paths, names_model_in_body: false, is_llm: false }
}

/// Every preset. The first route that matches a call wins, so `kserve-v1` comes before `tf-serving`, which has the same
/// plain `:predict`.
pub const PRESETS: [Preset; 11] = [
    preset("score", &["/score", "/score/"]),
    preset("predict", &["/predict"]),
    preset("invocations", &["/invocations"]),
    preset("kserve-v1", &["/v1/models/{model}:predict", "/v1/models/{model}:explain"]),
    preset("kserve-v2", &["/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"]),
    preset(
        "tf-serving",
        &[
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
    ),
    preset("torchserve", &["/predictions/{model}", "/predictions/{model}/{version}"]),
    Preset {
        is_llm: true,
        ..preset(
            "triton-generate",
            &[
                "/v2/models/{model}/generate",
                "/v2/models/{model}/generate_stream",
                "/v2/models/{model}/versions/{version}/generate",
                "/v2/models/{model}/versions/{version}/generate_stream",
            ],
        )
    },
    Preset {
        names_model_in_body: true,
        is_llm: true,
        ..preset(
            "openai",
            &[
                "/v1/chat/completions",
                "/v1/completions",
                "/v1/embeddings",
                "/v1/responses",
                "/v1/messages",
                "/v1/rerank",
                "/openai/v1/chat/completions",
                "/openai/v1/completions",
                "/openai/v1/embeddings",
            ],
        )
    },
    preset("seldon", &["/api/v1.0/predictions"]),
    Preset {
        names_model_in_body: true,
        ..preset("kserve-grpc", &["/inference.GRPCInferenceService/ModelInfer"])
    },
];
