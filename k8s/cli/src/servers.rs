//! Model servers with a configurable port: how to recognise them, and their values for `scoretap.dev/move-app`.

use serde_json::Value;

/// One kind of server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server {
    name: &'static str,
    /// Parts of an image's name, without registry and tag.
    images: &'static [&'static str],
    /// Words of the command, next to each other.
    commands: &'static [&'static [&'static str]],
    /// Values for `scoretap.dev/move-app`. Prefers the first whose flag the command has, then the first that sets a
    /// variable, then the first.
    lines: &'static [&'static str],
}

/// Known servers. More specific commands come first, because `mlflow models serve` may mention uvicorn.
pub(crate) const SERVERS: [Server; 12] = [
    Server {
        name: "vLLM",
        images: &["vllm-openai"],
        commands: &[&["vllm", "serve"], &["-m", "vllm.entrypoints.openai.api_server"]],
        lines: &["arg --port"],
    },
    Server {
        name: "Triton Inference Server",
        images: &["tritonserver"],
        commands: &[&["tritonserver"]],
        lines: &["arg --http-port"],
    },
    Server {
        name: "MLServer",
        images: &["mlserver"],
        commands: &[&["mlserver", "start"]],
        lines: &["env MLSERVER_HTTP_PORT"],
    },
    Server {
        name: "Text Generation Inference",
        images: &["text-generation-inference"],
        commands: &[&["text-generation-launcher"]],
        lines: &["arg --port", "arg -p", "env PORT"],
    },
    Server {
        name: "KServe's model server",
        images: &[
            "sklearnserver",
            "xgbserver",
            "lgbserver",
            "pmmlserver",
            "paddleserver",
            "huggingfaceserver",
            "predictiveserver",
        ],
        commands: &[
            &["-m", "sklearnserver"],
            &["-m", "xgbserver"],
            &["-m", "lgbserver"],
            &["-m", "pmmlserver"],
            &["-m", "paddleserver"],
            &["-m", "huggingfaceserver"],
            &["-m", "predictiveserver"],
        ],
        lines: &["arg --http_port"],
    },
    Server {
        name: "mlflow models serve",
        images: &[],
        commands: &[&["mlflow", "models", "serve"]],
        lines: &["arg --port", "arg -p"],
    },
    Server {
        name: "BentoML",
        images: &["bentoml"],
        commands: &[&["bentoml", "serve"], &["bentoml", "serve-http"]],
        lines: &["arg --port", "arg -p", "env BENTOML_PORT"],
    },
    Server {
        name: "TensorFlow Serving",
        images: &["tensorflow/serving"],
        commands: &[&["tensorflow_model_server"]],
        lines: &["arg --rest_api_port"],
    },
    Server {
        name: "uvicorn",
        images: &[],
        commands: &[&["uvicorn"], &["-m", "uvicorn"]],
        lines: &["arg --port", "env UVICORN_PORT"],
    },
    Server {
        name: "gunicorn",
        images: &[],
        commands: &[&["gunicorn"], &["-m", "gunicorn"]],
        lines: &["arg --bind 0.0.0.0:{port}", "arg -b 0.0.0.0:{port}"],
    },
    Server {
        name: "Flask",
        images: &[],
        commands: &[&["flask", "run"], &["-m", "flask", "run"]],
        lines: &["arg --port", "arg -p", "env FLASK_RUN_PORT"],
    },
    Server {
        name: "FastAPI",
        images: &[],
        commands: &[&["fastapi", "run"]],
        lines: &["arg --port", "env PORT"],
    },
];

/// The server in a container, with each possible value of `scoretap.dev/move-app`, the best first. Empty if the server
/// is unknown.
pub(crate) fn lines(container: &Value) -> Vec<(&'static str, String)> {
    let words = words(container);
    let Some(server) = find(container, &words) else { return Vec::new() };
    let mut lines = server.lines.to_vec();
    lines.sort_by_key(|line| match line.split_once(' ') {
        Some(("arg", rest)) if has_flag(&words, rest.split(' ').next().unwrap_or_default()) => 0,
        Some(("env", _)) => 1,
        _ => 2,
    });
    lines.into_iter().map(|line| (server.name, line.to_owned())).collect()
}

fn find(container: &Value, words: &[String]) -> Option<&'static Server> {
    let runs = |server: &&Server| server.commands.iter().any(|command| contains(words, command));
    let is_image = |server: &&Server| server.images.iter().any(|part| image(container).contains(part));
    SERVERS.iter().find(runs).or_else(|| SERVERS.iter().find(is_image))
}

/// The image's path, without registry, tag and digest.
fn image(container: &Value) -> &str {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let image = image.split('@').next().unwrap_or_default();
    let tag = image.rfind(':').filter(|tag| image.rfind('/').is_none_or(|slash| slash < *tag));
    &image[..tag.unwrap_or(image.len())]
}

/// The words of command and arguments, including those of a shell's `-c` string.
fn words(container: &Value) -> Vec<String> {
    let all = ["command", "args"].into_iter().filter_map(|field| container.get(field)?.as_array());
    let all = all.flatten().filter_map(Value::as_str).flat_map(str::split_whitespace);
    all.map(|word| word.rsplit('/').next().unwrap_or(word).to_owned()).collect()
}

fn contains(words: &[String], command: &[&str]) -> bool {
    words.windows(command.len()).any(|window| window.iter().zip(command).all(|(word, wanted)| word == wanted))
}

fn has_flag(words: &[String], flag: &str) -> bool {
    words.iter().any(|word| word == flag || word.split_once('=').is_some_and(|(name, _)| name == flag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(name: &str, container: &Value, expected: &str) {
        let lines = lines(container);
        assert_eq!(lines.first().map_or("", |(_, line)| line), expected, "{name}");
    }

    #[test]
    fn servers_are_recognised_by_image_or_command() {
        let image = |image: &str| json!({"image": image});
        let runs = |words: &[&str]| json!({"image": "registry.example:5000/team/app", "command": words});
        check("vLLM's image", &image("vllm/vllm-openai:v0.20"), "arg --port");
        check("vLLM's command", &runs(&["vllm", "serve", "m"]), "arg --port");
        check("Triton", &image("nvcr.io/nvidia/tritonserver:26.01-py3"), "arg --http-port");
        check("MLServer", &image("docker.io/seldonio/mlserver@sha256:1"), "env MLSERVER_HTTP_PORT");
        check("TGI", &image("ghcr.io/huggingface/text-generation-inference:3"), "env PORT");
        check("TGI with a flag", &runs(&["text-generation-launcher", "--port", "80"]), "arg --port");
        check("KServe", &image("kserve/sklearnserver:v0.16"), "arg --http_port");
        check("mlflow", &runs(&["mlflow", "models", "serve", "-m", "m", "-p", "5001"]), "arg -p");
        check("BentoML", &runs(&["bentoml", "serve", "service:svc"]), "env BENTOML_PORT");
        check("TF Serving", &image("tensorflow/serving:2.19"), "arg --rest_api_port");
        check("uvicorn", &runs(&["uvicorn", "app:app", "--port=8080"]), "arg --port");
        check("uvicorn, no flag", &runs(&["python", "-m", "uvicorn", "app:app"]), "env UVICORN_PORT");
        check("gunicorn", &runs(&["/venv/bin/gunicorn", "-b", "0.0.0.0:80", "app"]), "arg -b 0.0.0.0:{port}");
        check("gunicorn, long", &runs(&["gunicorn", "app"]), "arg --bind 0.0.0.0:{port}");
        check("Flask", &runs(&["flask", "run"]), "env FLASK_RUN_PORT");
        check("FastAPI", &runs(&["fastapi", "run", "main.py"]), "env PORT");
        check("unknown", &runs(&["/scorer"]), "");
        check("a tag is no name", &image("scorer:vllm-openai"), "");
    }
}
