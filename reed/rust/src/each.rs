//! An iterator over many snippets: [`SnippetCommands::each`](crate::SnippetCommands::each).

use serde_json::Value;

use crate::commands::{Request, SnippetCommands};
use crate::error::Error;
use crate::snippet::Snippet;

/// All snippets of a type, in the order of their creation; a page is fetched when the one before is used up. After an
/// error it ends.
#[derive(Debug)]
pub struct Each<'a> {
    core: &'a dyn Request,
    snippet_type: String,
    conditions: Option<Value>,
    page: std::vec::IntoIter<Snippet>,
    after: Option<String>, // None: the last page was fetched
}

impl<'a> Each<'a> {
    pub(crate) fn new(core: &'a dyn Request, snippet_type: &str, conditions: Option<Value>) -> Each<'a> {
        let snippet_type = snippet_type.to_owned();
        Each { core, snippet_type, conditions, page: Vec::new().into_iter(), after: Some(String::new()) }
    }

    fn fetch(&mut self, after: &str) -> Result<(), Error> {
        let commands = SnippetCommands(self.core);
        let page = match &self.conditions {
            Some(conditions) => commands.find(&self.snippet_type, conditions, after, 0),
            None => commands.list(&self.snippet_type, after, 0),
        }?;
        self.after = Some(page.after).filter(|after| !after.is_empty());
        self.page = page.snippets.into_iter();
        Ok(())
    }
}

impl<'a> SnippetCommands<'a> {
    /// All snippets of a type (all types if empty), fetched page by page: `for page in ctx.snippet().each("page")`.
    /// Snippets may be changed meanwhile: those of the current page are shown as they were when it was fetched.
    pub fn each(&self, snippet_type: &str) -> Each<'a> {
        Each::new(self.0, snippet_type, None)
    }

    /// As `each`, but only snippets whose top-level fields equal `conditions`, as in `find`.
    pub fn each_where(&self, snippet_type: &str, conditions: &Value) -> Each<'a> {
        Each::new(self.0, snippet_type, Some(conditions.clone()))
    }
}

impl Iterator for Each<'_> {
    type Item = Result<Snippet, Error>;

    fn next(&mut self) -> Option<Result<Snippet, Error>> {
        loop {
            if let Some(snippet) = self.page.next() {
                return Some(Ok(snippet));
            }
            let after = self.after.take()?;
            if let Err(error) = self.fetch(&after) {
                return Some(Err(error));
            }
        }
    }
}
