//! Owns the tree of path segments: one walk finds every template that a path fits, the most specific first.

use std::collections::HashMap;

use super::index::{Index, hash, narrow};
use super::template::{PathTemplate, Segment};

const NONE: u32 = u32::MAX;

/// The templates of all hosts, as trees in one table.
///
/// A step down costs one lookup in a hash index, however many children there are. A path meets a node only by choosing
/// "literal" or "parameter" at each segment, so the nodes visited are bounded by the different *shapes* of templates
/// (which of their segments are parameters), never by the number of routes.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    /// The literals of the edges, one after the other.
    literals: Vec<u8>,
    index: Index,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    has_literals: bool,
    /// The child for any one segment.
    parameter: u32,
    /// The leaf of the template that ends here.
    end: u32,
    /// The leaf of the template that goes on with `{*rest}`.
    rest: u32,
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    from: u32,
    to: u32,
    start: u32,
    length: u32,
}

/// Grows a tree.
#[derive(Debug, Default)]
pub(super) struct Growing {
    tree: Tree,
    children: HashMap<(u32, Box<[u8]>), u32>,
    leaves: u32,
}

impl Growing {
    /// Starts the tree of a host and returns its root.
    pub(super) fn root(&mut self) -> u32 {
        self.node()
    }

    /// Adds a template below a root and returns its leaf, which it shares with templates of the same shape.
    pub(super) fn add(&mut self, root: u32, template: &PathTemplate) -> u32 {
        let mut at = root;
        for segment in template.segments() {
            at = match segment {
                Segment::Literal(text) => self.literal(at, text),
                Segment::Parameter => self.parameter(at),
                Segment::Rest => {
                    return Self::leaf(&mut self.tree.nodes[at as usize].rest, &mut self.leaves);
                }
            };
        }
        Self::leaf(&mut self.tree.nodes[at as usize].end, &mut self.leaves)
    }

    /// Ends the growing; leaves are numbered from 0 in the order of [`Growing::add`].
    pub(super) fn finish(mut self) -> Tree {
        let hashes: Vec<_> = (0..)
            .zip(&self.tree.edges)
            .map(|(id, edge)| (hash(u64::from(edge.from), self.tree.text(*edge)), id))
            .collect();
        self.tree.index = Index::build(&hashes);
        self.tree
    }

    fn node(&mut self) -> u32 {
        self.tree.nodes.push(Node { has_literals: false, parameter: NONE, end: NONE, rest: NONE });
        narrow(self.tree.nodes.len() - 1)
    }

    fn leaf(place: &mut u32, leaves: &mut u32) -> u32 {
        if *place == NONE {
            *place = *leaves;
            *leaves += 1;
        }
        *place
    }

    fn parameter(&mut self, from: u32) -> u32 {
        if self.tree.nodes[from as usize].parameter == NONE {
            let child = self.node();
            self.tree.nodes[from as usize].parameter = child;
        }
        self.tree.nodes[from as usize].parameter
    }

    fn literal(&mut self, from: u32, text: &[u8]) -> u32 {
        if let Some(child) = self.children.get(&(from, text.into())) {
            return *child;
        }
        let to = self.node();
        self.tree.nodes[from as usize].has_literals = true;
        let (start, length) = (narrow(self.tree.literals.len()), narrow(text.len()));
        self.tree.edges.push(Edge { from, to, start, length });
        self.tree.literals.extend_from_slice(text);
        self.children.insert((from, text.into()), to);
        to
    }
}

impl Tree {
    /// Visits the leaves of the templates that a path fits, the most specific first, until `visit` answers.
    ///
    /// A path that does not begin with `/` (the `*` of OPTIONS) fits `/{*rest}` only.
    pub(super) fn walk<R>(&self, root: u32, path: &[u8], visit: &mut impl FnMut(u32) -> Option<R>) -> Option<R> {
        match path.strip_prefix(b"/") {
            Some(inner) => self.descend(root, Some(inner), visit),
            None => self.rest(root, visit),
        }
    }

    /// `left` is what follows the slash behind this node's segment, `None` where no slash follows.
    ///
    /// Recursion is as deep as the longest template, not as the path.
    fn descend<R>(&self, at: u32, left: Option<&[u8]>, visit: &mut impl FnMut(u32) -> Option<R>) -> Option<R> {
        let node = self.nodes[at as usize];
        let Some(left) = left else {
            if node.end != NONE
                && let Some(found) = visit(node.end)
            {
                return Some(found);
            }
            return self.rest(at, visit);
        };
        let length = left.iter().position(|byte| *byte == b'/').unwrap_or(left.len());
        let (segment, next) = (&left[..length], left.get(length + 1..));
        if node.has_literals
            && let Some(child) = self.child(at, segment)
            && let Some(found) = self.descend(child, next, visit)
        {
            return Some(found);
        }
        if node.parameter != NONE
            && !segment.is_empty()
            && let Some(found) = self.descend(node.parameter, next, visit)
        {
            return Some(found);
        }
        self.rest(at, visit)
    }

    fn rest<R>(&self, at: u32, visit: &mut impl FnMut(u32) -> Option<R>) -> Option<R> {
        let leaf = self.nodes[at as usize].rest;
        if leaf == NONE { None } else { visit(leaf) }
    }

    fn child(&self, from: u32, segment: &[u8]) -> Option<u32> {
        let is = |id: u32| {
            let edge = self.edges[id as usize];
            edge.from == from && self.text(edge) == segment
        };
        self.index.find(hash(u64::from(from), segment), is).map(|id| self.edges[id as usize].to)
    }

    fn text(&self, edge: Edge) -> &[u8] {
        &self.literals[edge.start as usize..][..edge.length as usize]
    }
}
