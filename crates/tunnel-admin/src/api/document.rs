//! The API's own description: OpenAPI 3.1.

use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;

const DOCUMENT: &str = include_str!("openapi.json");

pub(super) async fn document() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    /// This file lists the routes; what is written there is what there is.
    const ROUTES: &str = include_str!("mod.rs");

    fn routes() -> BTreeSet<(String, String)> {
        let mut routes = BTreeSet::new();
        for line in ROUTES.lines().map(str::trim).filter(|line| line.starts_with("(\"/")) {
            let path = line.split('"').nth(1).unwrap();
            for method in ["get", "post", "put", "patch", "delete"] {
                if line.contains(&format!(" {method}(")) || line.contains(&format!(").{method}(")) {
                    routes.insert((path.to_owned(), method.to_owned()));
                }
            }
        }
        routes
    }

    #[test]
    fn it_describes_every_route_and_no_other() {
        let document: Value = serde_json::from_str(super::DOCUMENT).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let described: BTreeSet<_> = paths
            .iter()
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().unwrap().keys();
                methods.filter(|key| *key != "parameters").map(|method| (path.clone(), method.clone()))
            })
            .collect();
        assert!(described.len() > 20);
        assert_eq!(described, routes());
    }

    /// Whatever the document names as a property is one that the types have, and the other way round.
    #[test]
    fn its_schemas_are_the_types() {
        use crate::model;
        let document: Value = serde_json::from_str(super::DOCUMENT).unwrap();
        let keys = |value: Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        let rights = serde_json::to_value(model::TokenRights::default()).unwrap();
        let properties = document["components"]["schemas"]["TokenRights"]["properties"].clone();
        assert_eq!(keys(properties), keys(rights));
    }
}
