//! Understands a query: its selectors, the labels that it needs and the type that it takes each metric for.

use std::collections::BTreeSet;

use promql_parser::label::{METRIC_NAME, MatchOp};
use promql_parser::parser::{
    AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, StringLiteral, VectorMatchCardinality,
    VectorSelector,
};

use super::judge::accepts;
use super::model::{ANY, Content, Labels, Matcher, Matching, Op, Pair, Role, Tree, Use};
use super::variables::{ANY_NAME, Variables, replace};

/// Longer expressions are rejected, as are more deeply nested ones.
const LONGEST: usize = 16 * 1024;
const DEEPEST: usize = 100;

/// A query that is no valid PromQL.
#[derive(Debug, PartialEq)]
pub(super) struct Invalid {
    /// Counted in characters from 1; `None` where the parser does not tell.
    pub(super) column: Option<usize>,
    pub(super) reason: String,
}

/// Understands a query of a dashboard with these variables.
pub(super) fn understand(expr: &str, variables: &Variables) -> Result<Content, Invalid> {
    check_size(expr)?;
    let (mut uses, mut trees, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for readings in replace(expr, variables).readings {
        let mut parsed = readings.iter().map(|reading| parse(reading));
        let first = parsed.next().unwrap_or_else(|| Err("empty".to_owned()));
        let parsed = first.or_else(|error| parsed.find_map(Result::ok).ok_or(error));
        let parsed = parsed.map_err(|reason| Invalid { column: column(expr, &reason), reason })?;
        let mut reader = Reader { uses, problem: None };
        let part = reader.read(&parsed, &Context::default());
        trees.push(part.tree);
        labels.push(part.labels);
        if let Some(problem) = reader.problem {
            return Ok(Content::Other(problem));
        }
        uses = reader.uses;
    }
    let tree = if trees.len() == 1 { trees.remove(0) } else { Tree::All(trees) };
    let labels = if labels.len() == 1 { labels.remove(0) } else { Labels::Unknown };
    Ok(Content::PromQl { uses, tree, labels })
}

/// Parses PromQL, also that of Prometheus 2, which had another name for one function.
fn parse(expr: &str) -> Result<Expr, String> {
    promql_parser::parser::parse(expr).or_else(|error| {
        let renamed = expr.replace("holt_winters(", "double_exponential_smoothing(");
        if renamed == expr { Err(error) } else { promql_parser::parser::parse(&renamed) }
    })
}

fn check_size(expr: &str) -> Result<(), Invalid> {
    let invalid = |reason: &str| Err(Invalid { column: None, reason: reason.to_owned() });
    if expr.trim().is_empty() {
        return invalid("is empty");
    }
    if expr.len() > LONGEST {
        return invalid("is longer than 16 KB");
    }
    let mut depth = 0_usize;
    for char in expr.chars() {
        match char {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return invalid("is nested more than 100 levels deep");
        }
    }
    Ok(())
}

/// The column of an error. The parser does not tell it, but its reason quotes what it stumbled on.
fn column(expr: &str, reason: &str) -> Option<usize> {
    let quoted = reason.split('\'').nth(1).filter(|text| !text.is_empty());
    let regex = reason.strip_prefix("illegal regex for ").and_then(|text| expr.find(&format!("~\"{text}\"")));
    let place = regex.map(|place| place + 1).or_else(|| expr.find(quoted?));
    let counted = place.map(|place| expr.get(..place).unwrap_or_default().chars().count() + 1);
    unbalanced(expr).or(counted).or_else(|| longest_beginning(expr))
}

/// The column after the longest beginning that is valid itself.
fn longest_beginning(expr: &str) -> Option<usize> {
    const LONGEST: usize = 500;
    let ends = expr.char_indices().map(|(end, _)| end).zip(1..).take(LONGEST);
    let valid = ends.filter(|(end, _)| expr.get(..*end).is_some_and(|part| parse(part).is_ok()));
    valid.last().map(|(_, column)| column)
}

/// The column of the first bracket or quote without its counterpart.
fn unbalanced(expr: &str) -> Option<usize> {
    let mut open: Vec<(char, usize)> = Vec::new();
    let mut chars = expr.chars().zip(1..);
    while let Some((char, column)) = chars.next() {
        match char {
            '(' | '[' | '{' => open.push((char, column)),
            ')' | ']' | '}' => match (open.pop(), char) {
                (Some(('(', _)), ')') | (Some(('[', _)), ']') | (Some(('{', _)), '}') => {}
                _ => return Some(column),
            },
            '"' | '\'' | '`' => loop {
                match chars.next() {
                    None => return Some(column),
                    Some(('\\', _)) if char != '`' => drop(chars.next()),
                    Some((end, _)) if end == char => break,
                    Some(_) => {}
                }
            },
            _ => {}
        }
    }
    open.first().map(|(_, column)| *column)
}

/// The surroundings of a selector.
#[derive(Clone, Default)]
struct Context {
    /// Labels that must reach the result.
    labels: BTreeSet<String>,
    in_rate: bool,
    in_quantile: bool,
}

struct Reader {
    uses: Vec<Use>,
    problem: Option<String>,
}

/// The demands of an expression, and the labels of its series.
struct Part {
    tree: Tree,
    labels: Labels,
}

impl Reader {
    fn read(&mut self, expr: &Expr, context: &Context) -> Part {
        match expr {
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, context),
            Expr::Unary(unary) => self.read(&unary.expr, context),
            Expr::Binary(binary) => self.binary(binary, context),
            Expr::Paren(paren) => self.read(&paren.expr, context),
            Expr::Subquery(subquery) => self.read(&subquery.expr, context),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => {
                Part { tree: all(Vec::new()), labels: Labels::Scalar }
            }
            Expr::Extension(_) => Part { tree: all(Vec::new()), labels: Labels::Unknown },
            Expr::VectorSelector(selector) => self.selector(selector, context),
            Expr::MatrixSelector(selector) => self.selector(&selector.vs, context),
            Expr::Call(call) => self.call(call, context),
        }
    }

    fn aggregate(&mut self, aggregate: &AggregateExpr, context: &Context) -> Part {
        let mut inner = context.clone();
        if let Some(LabelModifier::Include(labels)) = &aggregate.modifier {
            inner.labels.extend(labels.labels.iter().cloned());
        }
        let part = self.read(&aggregate.expr, &inner);
        let mut trees = vec![part.tree];
        trees.extend(aggregate.param.iter().map(|param| self.read(param, context).tree));
        Part { tree: all(trees), labels: aggregated(aggregate, part.labels) }
    }

    fn binary(&mut self, binary: &BinaryExpr, context: &Context) -> Part {
        let mut inner = context.clone();
        if let Some(modifier) = &binary.modifier {
            if let Some(LabelModifier::Include(labels)) = &modifier.matching {
                inner.labels.extend(labels.labels.iter().cloned());
            }
            if let Some(copied) = modifier.card.labels() {
                inner.labels.extend(copied.labels.iter().cloned());
            }
        }
        let (left, right) = (self.read(&binary.lhs, &inner), self.read(&binary.rhs, &inner));
        let labels = paired(binary, &left.labels, &right.labels);
        let operator = binary.op.to_string();
        let needs_none = |part: &Part| part.tree == all(Vec::new());
        // `x or vector(0)` shows 0 where there is no x, so x is what it asks for.
        if operator == "or" && !needs_none(&left) && !needs_none(&right) {
            return Part { tree: Tree::Any(vec![left.tree, right.tree]), labels };
        }
        let mut trees = vec![left.tree, right.tree];
        if !matches!(operator.as_str(), "or" | "unless") {
            let sides = [left.labels, right.labels];
            if !sides.iter().any(|side| matches!(side, Labels::Scalar | Labels::Unknown)) {
                trees.push(Tree::Pair(Box::new(Pair { operator, sides, matching: matching(binary) })));
            }
        }
        Part { tree: all(trees), labels }
    }

    fn call(&mut self, call: &Call, context: &Context) -> Part {
        let mut inner = context.clone();
        let name = call.func.name;
        match name {
            "rate" | "irate" | "increase" | "resets" => inner.in_rate = true,
            "histogram_quantile" | "histogram_fraction" | "histogram_avg" | "histogram_sum"
            | "histogram_count" => {
                inner.in_quantile = true;
            }
            "label_replace" | "label_join" => relabel(call, &mut inner),
            _ => {}
        }
        let parts: Vec<Part> = call.args.args.iter().map(|argument| self.read(argument, &inner)).collect();
        let series = parts.iter().map(|part| &part.labels).find(|labels| **labels != Labels::Scalar).cloned();
        let series = series.unwrap_or(Labels::Scalar);
        let mut trees: Vec<Tree> = parts.into_iter().map(|part| part.tree).collect();
        let le = || BTreeSet::from(["le".to_owned()]);
        let labels = match name {
            "scalar" => Labels::Scalar,
            "vector" => Labels::Empty,
            "absent" | "absent_over_time" | "info" => Labels::Unknown,
            "histogram_quantile" | "histogram_fraction" => {
                trees.push(Tree::Bounded(series.clone()));
                Labels::Without(le(), Box::new(series))
            }
            "label_replace" | "label_join" => match text(call, 1) {
                Some(target) => Labels::With(BTreeSet::from([target]), Box::new(series)),
                None => Labels::Unknown,
            },
            _ => series,
        };
        Part { tree: all(trees), labels }
    }

    fn selector(&mut self, selector: &VectorSelector, context: &Context) -> Part {
        let mut name = selector.name.clone();
        let (mut matchers, mut name_matchers) = (Vec::new(), Vec::new());
        for matcher in &selector.matchers.matchers {
            let op = match matcher.op {
                MatchOp::Equal => Op::Equal,
                MatchOp::NotEqual => Op::NotEqual,
                MatchOp::Re(_) => Op::Matches,
                MatchOp::NotRe(_) => Op::NotMatches,
            };
            let known = Matcher { label: matcher.name.clone(), op, value: matcher.value.clone() };
            match (matcher.name.as_str(), op) {
                (METRIC_NAME, Op::Equal) => name = Some(matcher.value.clone()),
                (METRIC_NAME, _) => name_matchers.push(known),
                _ => matchers.push(known),
            }
        }
        if name.is_some() {
            name_matchers.clear();
        }
        if let Some(problem) = unnamed(name.as_deref(), &name_matchers) {
            self.problem = Some(problem.to_owned());
            return Part { tree: all(Vec::new()), labels: Labels::Unknown };
        }
        let metric = name.unwrap_or_default();
        let mut labels = context.labels.clone();
        labels.retain(|label| label != "le" && label != METRIC_NAME && !label.contains(ANY_NAME));
        let role = role(&metric, &matchers, context);
        self.uses.push(Use { metric, name_matchers, matchers, labels, role });
        let index = self.uses.len() - 1;
        Part { tree: Tree::Use(index), labels: Labels::Of(index) }
    }
}

/// The reason why the metrics of a selector cannot be known.
fn unnamed(name: Option<&str>, name_matchers: &[Matcher]) -> Option<&'static str> {
    let texts = name.into_iter().chain(name_matchers.iter().map(|matcher| matcher.value.as_str()));
    if texts.into_iter().any(|text| text.contains(ANY_NAME) || text.contains(ANY)) {
        return Some("the name of its metric is a variable of the dashboard");
    }
    const OF_NO_METRIC: &str = "zzz:of_no_metric";
    let is_every = name.is_none() && accepts(&name_matchers.iter().collect::<Vec<_>>(), OF_NO_METRIC);
    is_every.then_some("it selects metrics of every name")
}

/// The labels of an aggregation over series with these labels.
fn aggregated(aggregate: &AggregateExpr, inner: Labels) -> Labels {
    let operator = aggregate.op.to_string();
    if matches!(operator.as_str(), "topk" | "bottomk" | "limitk" | "limit_ratio") {
        return inner;
    }
    let labels = match &aggregate.modifier {
        None => Labels::Only(BTreeSet::new(), Box::new(inner)),
        Some(LabelModifier::Include(by)) => Labels::Only(set(&by.labels), Box::new(inner)),
        Some(LabelModifier::Exclude(without)) => Labels::Without(set(&without.labels), Box::new(inner)),
    };
    match aggregate.param.as_deref() {
        Some(Expr::StringLiteral(StringLiteral { val })) if operator == "count_values" => {
            Labels::With(BTreeSet::from([val.clone()]), Box::new(labels))
        }
        _ => labels,
    }
}

fn set(labels: &[String]) -> BTreeSet<String> {
    labels.iter().cloned().collect()
}

fn matching(binary: &BinaryExpr) -> Matching {
    match binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref()) {
        None => Matching::All,
        Some(LabelModifier::Include(on)) => Matching::On(set(&on.labels)),
        Some(LabelModifier::Exclude(ignoring)) => Matching::Ignoring(set(&ignoring.labels)),
    }
}

/// The labels of a binary operator's result.
fn paired(binary: &BinaryExpr, left: &Labels, right: &Labels) -> Labels {
    match (left, right) {
        (Labels::Scalar, other) | (other, Labels::Scalar) => return other.clone(),
        _ => {}
    }
    match binary.op.to_string().as_str() {
        "and" | "unless" => return left.clone(),
        "or" if left != right => return Labels::Unknown,
        _ => {}
    }
    let card = binary.modifier.as_ref().map(|modifier| &modifier.card);
    match (card, matching(binary)) {
        (Some(VectorMatchCardinality::ManyToOne(copied)), _) => {
            Labels::With(set(&copied.labels), Box::new(left.clone()))
        }
        (Some(VectorMatchCardinality::OneToMany(copied)), _) => {
            Labels::With(set(&copied.labels), Box::new(right.clone()))
        }
        (_, Matching::All) => left.clone(),
        (_, Matching::On(on)) => Labels::Only(on, Box::new(left.clone())),
        (_, Matching::Ignoring(ignoring)) => Labels::Without(ignoring, Box::new(left.clone())),
    }
}

/// A call's argument that is a text.
fn text(call: &Call, position: usize) -> Option<String> {
    match call.args.args.get(position).map(AsRef::as_ref) {
        Some(Expr::StringLiteral(StringLiteral { val })) => Some(val.clone()),
        _ => None,
    }
}

/// The target label is made, so it need not exist. The source labels must.
fn relabel(call: &Call, context: &mut Context) {
    if let Some(target) = text(call, 1) {
        context.labels.remove(&target);
    }
    let sources = if call.func.name == "label_replace" { 3..4 } else { 3..call.args.args.len() };
    context.labels.extend(sources.filter_map(|place| text(call, place)).filter(|label| !label.is_empty()));
}

fn role(metric: &str, matchers: &[Matcher], context: &Context) -> Role {
    let has = |label: &str| matchers.iter().any(|matcher| matcher.label == label);
    let outside = if has("quantile") {
        Role::Quantile
    } else if has("le") {
        Role::Bucket
    } else if context.in_quantile {
        Role::Native
    } else if context.in_rate {
        Role::Counter
    } else {
        Role::Gauge
    };
    role_of(metric, outside)
}

/// The role of a metric that has this role if its name does not tell another one.
pub(super) fn role_of(metric: &str, outside: Role) -> Role {
    match outside {
        Role::Quantile | Role::Bucket => outside,
        _ if metric.ends_with("_bucket") => Role::Bucket,
        Role::Native => Role::Native,
        _ if metric.ends_with("_sum") => Role::Sum,
        _ if metric.ends_with("_count") => Role::Count,
        _ if metric.ends_with("_total") => Role::Counter,
        Role::Counter | Role::Gauge | Role::Sum | Role::Count => outside,
    }
}

/// Joins trees and leaves out those that need no series.
fn all(trees: Vec<Tree>) -> Tree {
    let mut trees: Vec<Tree> = trees.into_iter().filter(|tree| *tree != Tree::All(Vec::new())).collect();
    if trees.len() == 1 { trees.remove(0) } else { Tree::All(trees) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn understood(expr: &str) -> Content {
        understand(expr, &Variables::new()).unwrap_or_else(|invalid| panic!("{expr}: {invalid:?}"))
    }

    /// The selectors as `role metric{matchers} labels`.
    #[track_caller]
    fn check(expr: &str, expected: &[&str]) {
        let Content::PromQl { uses, .. } = understood(expr) else { panic!("{expr} is no PromQL") };
        let op = |op| match op {
            Op::Equal => "=",
            Op::NotEqual => "!=",
            Op::Matches => "=~",
            Op::NotMatches => "!~",
        };
        let shown = uses.iter().map(|used| {
            let matchers =
                used.matchers.iter().map(|m| format!("{}{}{}", m.label, op(m.op), m.value.replace(ANY, "*")));
            let labels: Vec<&str> = used.labels.iter().map(String::as_str).collect();
            let matchers = matchers.collect::<Vec<_>>().join(",");
            format!("{:?} {}{{{matchers}}} {}", used.role, used.metric, labels.join(","))
        });
        assert_eq!(shown.collect::<Vec<_>>(), expected, "{expr}");
    }

    #[track_caller]
    fn check_tree(expr: &str, expected: &Tree) {
        let Content::PromQl { tree, .. } = understood(expr) else { panic!("{expr} is no PromQL") };
        assert_eq!(&tree, expected, "{expr}");
    }

    #[track_caller]
    fn check_invalid(expr: &str, column: Option<usize>, reason: &str) {
        let invalid = understand(expr, &Variables::new()).unwrap_err();
        assert_eq!(invalid.column, column, "{expr}: {invalid:?}");
        assert!(invalid.reason.contains(reason), "{expr}: {invalid:?}");
    }

    #[test]
    fn roles_follow_names_and_functions() {
        check("sum(rate(http_requests_total[5m])) by (method)", &["Counter http_requests_total{} method"]);
        check("in_progress", &["Gauge in_progress{} "]);
        check(
            "histogram_quantile(0.95, sum by (le, path) (rate(d_bucket[5m])))",
            &["Bucket d_bucket{} path"],
        );
        check("rate(d_sum[5m]) / rate(d_count[5m])", &["Sum d_sum{} ", "Count d_count{} "]);
        check(r#"d{quantile="0.9"}"#, &["Quantile d{quantile=0.9} "]);
        check("histogram_quantile(0.9, rate(d[5m]))", &["Native d{} "]);
    }

    #[test]
    fn joins_and_relabelling_need_source_labels() {
        check("a * on (pod) group_left (team) b", &["Gauge a{} pod,team", "Gauge b{} pod,team"]);
        check(r#"sum by (short) (label_replace(a, "short", "$1", "path", "/(.*)"))"#, &["Gauge a{} path"]);
    }

    #[test]
    fn names_of_metrics_are_no_labels() {
        check(r#"sum by (__name__) ({__name__="a"})"#, &["Gauge a{} "]);
        check(r#"count by (__name__, b) ({__name__=~"a.*", c="d"})"#, &["Gauge {c=d} b"]);
    }

    #[test]
    fn variables_match_any_value() {
        check(r#"a{b=~"$b", job="$job"}"#, &["Gauge a{b=~*,job=*} "]);
        check("topk($n, sum by ($group) (a))", &["Gauge a{} "]);
        let Content::Other(reason) = understood("rate(${app}_total[5m])") else { panic!("has a name") };
        assert_eq!(reason, "the name of its metric is a variable of the dashboard");
    }

    #[test]
    fn alternatives_need_one_side_only() {
        let [a, b] = [0, 1].map(Tree::Use);
        check_tree("a or b", &Tree::Any(vec![a.clone(), b.clone()]));
        check_tree("a or vector(0)", &a);
        check_tree("a unless b", &Tree::All(vec![a, b]));
        check_tree("vector(1)", &Tree::All(Vec::new()));
    }

    #[test]
    fn invalid_queries_name_the_column() {
        check_invalid("sum(rate(a[5m])", Some(4), "");
        check_invalid("a{b=\"c}", Some(5), "");
        check_invalid("sum(a))", Some(7), "");
        check_invalid("a b", Some(3), "");
        check_invalid("1 + rate(a_total)", Some(5), "matrix");
        check_invalid("é + foo(a)", Some(1), "");
        check_invalid(r#"(a{b="("}) + c{d=~"("}"#, Some(19), "illegal regex");
        check_invalid(" ", None, "is empty");
        check_invalid(&"(".repeat(200), None, "nested");
        check_invalid(&format!("a{}", "+a".repeat(10_000)), None, "16 KB");
    }

    #[test]
    fn old_name_of_a_function_is_understood() {
        check("holt_winters(a_total[5m], 0.5, 0.5)", &["Counter a_total{} "]);
    }

    proptest! {
        #[test]
        fn any_text_is_understood_or_invalid(expr in "[a-z_(){}\\[\\]\"'$=~!,+ 0-9é\\\\]{0,60}") {
            drop(understand(&expr, &Variables::new()));
        }
    }
}
