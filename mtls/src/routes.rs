//! Routes: which method at which path is which operation. A service's router and its OpenAPI document read the
//! same table, so neither knows a path that the other does not.

use hyper::{Method, StatusCode};

use crate::exchange::Failure;

/// One operation at its method and path.
#[derive(Debug, Clone)]
pub struct Route<O> {
    method: Method,
    path: &'static str,
    operation: O,
}

impl<O: Copy> Route<O> {
    /// A route of GET. The path may end with one parameter, `{name}`, that stands for one segment.
    pub const fn get(path: &'static str, operation: O) -> Self {
        Self {
            method: Method::GET,
            path,
            operation,
        }
    }

    /// A route of POST. The path is as that of GET.
    pub const fn post(path: &'static str, operation: O) -> Self {
        Self {
            method: Method::POST,
            path,
            operation,
        }
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path, with its parameter.
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// What is done there.
    pub fn operation(&self) -> O {
        self.operation
    }

    /// What the parameter stands for in a path of this route's, empty when it has none; `None` for another path.
    fn argument<'a>(&self, path: &'a str) -> Option<&'a str> {
        let Some((before, _)) = self.path.split_once('{') else {
            return (path == self.path).then_some("");
        };
        path.strip_prefix(before)
            .filter(|argument| !argument.contains('/'))
    }
}

/// Finds a request's operation, and what the path's parameter stands for.
///
/// # Errors
/// 405 for another method at a known path, 404 for any other path.
pub fn find<'a, O: Copy>(
    routes: &[Route<O>],
    method: &Method,
    path: &'a str,
) -> Result<(O, &'a str), Failure> {
    let mut others = Vec::new();
    for route in routes {
        if let Some(argument) = route.argument(path) {
            if route.method == *method {
                return Ok((route.operation, argument));
            }
            others.push(route.method.clone());
        }
    }
    Err(if others.is_empty() {
        Failure::Plain(StatusCode::NOT_FOUND)
    } else {
        Failure::OtherMethod(others)
    })
}

/// Reads what the path's parameter stands for.
///
/// # Errors
/// 404 when it is not of that form.
pub fn argument<T: std::str::FromStr>(text: &str) -> Result<T, Failure> {
    text.parse()
        .map_err(|_| Failure::Plain(StatusCode::NOT_FOUND))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &[Route<u8>] = &[
        Route::get("/things", 1),
        Route::post("/things", 2),
        Route::get("/things/{id}", 3),
    ];

    fn found(method: Method, path: &str) -> Result<(u8, &str), String> {
        find(ROUTES, &method, path).map_err(|failure| match failure {
            Failure::Plain(status) => status.as_str().to_owned(),
            Failure::OtherMethod(methods) => crate::exchange::allow(&methods)
                .to_str()
                .unwrap()
                .to_owned(),
            Failure::Refused(refusal) => panic!("{refusal}"),
        })
    }

    #[test]
    fn a_method_at_a_path_is_one_operation() {
        assert_eq!(found(Method::GET, "/things"), Ok((1, "")));
        assert_eq!(found(Method::POST, "/things"), Ok((2, "")));
        assert_eq!(found(Method::GET, "/things/a"), Ok((3, "a")));
    }

    #[test]
    fn another_method_is_told_which_there_are_and_another_path_is_404() {
        let allowed = |methods: &str| Err(methods.to_owned());
        assert_eq!(found(Method::PUT, "/things"), allowed("GET, POST"));
        assert_eq!(found(Method::POST, "/things/a"), allowed("GET"));
        for path in ["/", "/thing", "/things/a/b", "/things/a/", "/Things"] {
            assert_eq!(found(Method::GET, path), Err("404".to_owned()), "{path}");
        }
    }
}
