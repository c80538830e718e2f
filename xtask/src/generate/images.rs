//! Writes the images of `k8s/images/bases.txt` wherever the repository names them.

use std::path::Path;

use anyhow::Result;

use super::{Generated, read};

const FILES: [&str; 3] =
    ["k8s/chart/values.yaml", "examples/compose/compose.yaml", "examples/compose/scorer.Containerfile"];

pub(super) fn named(root: &Path) -> Result<Vec<Generated>> {
    let list = read(root, "k8s/images/bases.txt")?;
    let images = || list.lines().filter(|line| !line.starts_with('#'));
    let updated = |path: &str| {
        let text = images().fold(read(root, path)?, |text, image| renamed(&text, image));
        Ok((path.to_owned(), text))
    };
    FILES.into_iter().map(updated).collect()
}

/// The text with this image in place of every tag and digest of its repository.
fn renamed(text: &str, image: &str) -> String {
    let repository = image.split([':', '@']).next().unwrap_or(image);
    let mut parts = text.split(repository);
    let mut updated = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_tagged = part.starts_with([':', '@']);
        let of_image = |char: char| char.is_ascii_alphanumeric() || ":@.-_".contains(char);
        updated.push_str(if is_tagged { image } else { repository });
        updated.push_str(if is_tagged { part.trim_start_matches(of_image) } else { part });
    }
    updated
}

#[cfg(test)]
mod tests {
    use super::renamed;

    #[test]
    fn tags_and_digests_of_an_image_are_replaced() {
        let text = "image: a/b:1\nfrom a/b@sha256:0 AS x\n\"a/b:2@sha256:1\" a/bc:1 a/b\n";
        let expected = "image: a/b:v3\nfrom a/b:v3 AS x\n\"a/b:v3\" a/bc:1 a/b\n";
        assert_eq!(renamed(text, "a/b:v3"), expected);
    }
}
