//! Who is signed in, and which workspace is looked at.

use rateguard_api::auth::User;
use rateguard_api::workspace::Workspace;
use std::rc::Rc;
use yew::Reducible;

#[derive(Debug, Clone, Default, PartialEq)]
pub enum Session {
    /// The cookie has not been tried yet.
    #[default]
    Starting,
    /// The server could not be asked.
    Unreachable,
    SignedOut,
    SignedIn(Rc<SignedIn>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct SignedIn {
    pub user: User,
    pub workspaces: Vec<Workspace>,
    /// The id of the one that is looked at.
    current: String,
}

pub enum Change {
    Restart,
    Unreachable,
    SignedOut,
    SignedIn {
        user: User,
        workspaces: Vec<Workspace>,
        /// The workspace that was looked at last time.
        wanted: Option<String>,
    },
    Choose(String),
    /// A workspace was made or changed.
    Put(Box<Workspace>),
    Removed(String),
    Renamed(User),
}

impl SignedIn {
    pub fn workspace(&self) -> Option<&Workspace> {
        self.workspaces
            .iter()
            .find(|workspace| workspace.id == self.current)
    }

    fn new(user: User, workspaces: Vec<Workspace>, wanted: Option<String>) -> Self {
        let current = wanted
            .filter(|wanted| workspaces.iter().any(|workspace| &workspace.id == wanted))
            .or_else(|| workspaces.first().map(|workspace| workspace.id.clone()));
        Self {
            user,
            workspaces,
            current: current.unwrap_or_default(),
        }
    }
}

impl Reducible for Session {
    type Action = Change;

    fn reduce(self: Rc<Self>, change: Change) -> Rc<Self> {
        let next = match change {
            Change::Restart => Self::Starting,
            Change::Unreachable => Self::Unreachable,
            Change::SignedOut => Self::SignedOut,
            Change::SignedIn {
                user,
                workspaces,
                wanted,
            } => Self::SignedIn(Rc::new(SignedIn::new(user, workspaces, wanted))),
            within => {
                let Self::SignedIn(signed_in) = &*self else {
                    return self;
                };
                Self::SignedIn(Rc::new(changed(signed_in, within)))
            }
        };
        Rc::new(next)
    }
}

fn changed(before: &SignedIn, change: Change) -> SignedIn {
    let mut after = before.clone();
    match change {
        Change::Choose(id) => return SignedIn::new(after.user, after.workspaces, Some(id)),
        Change::Put(workspace) => match after.workspaces.iter_mut().find(|known| known.id == workspace.id) {
            Some(known) => *known = *workspace,
            None => after.workspaces.push(*workspace),
        },
        Change::Removed(id) => {
            after.workspaces.retain(|workspace| workspace.id != id);
            let current = after.current.clone();
            return SignedIn::new(after.user, after.workspaces, Some(current));
        }
        Change::Renamed(user) => after.user = user,
        Change::Restart | Change::Unreachable | Change::SignedOut | Change::SignedIn { .. } => {}
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(id: &str, name: &str) -> Workspace {
        serde_json::from_value(serde_json::json!({
            "id": id, "slug": id, "name": name, "role": "OWNER", "createdAt": "", "updatedAt": "",
            "settings": {"timeZone": "UTC", "unpricedModelPolicy": "allow", "failureMode": "FAIL_OPEN"},
        }))
        .unwrap()
    }

    fn signed_in(wanted: Option<&str>) -> Rc<Session> {
        let user = User {
            id: "u".into(),
            email: "e".into(),
            name: "n".into(),
            created_at: String::new(),
        };
        Rc::new(Session::Starting).reduce(Change::SignedIn {
            user,
            workspaces: vec![workspace("a", "A"), workspace("b", "B")],
            wanted: wanted.map(str::to_owned),
        })
    }

    fn current(session: &Session) -> Option<&str> {
        match session {
            Session::SignedIn(signed_in) => signed_in.workspace().map(|workspace| workspace.id.as_str()),
            _ => None,
        }
    }

    #[test]
    fn the_last_workspace_is_taken_if_it_is_still_there() {
        assert_eq!(current(&signed_in(Some("b"))), Some("b"));
        assert_eq!(current(&signed_in(Some("gone"))), Some("a"));
        assert_eq!(current(&signed_in(None)), Some("a"));
    }

    #[test]
    fn workspaces_come_change_and_go() {
        let session = signed_in(Some("b")).reduce(Change::Put(Box::new(workspace("c", "C"))));
        let session = session.reduce(Change::Choose("c".into()));
        assert_eq!(current(&session), Some("c"));
        let session = session.reduce(Change::Removed("c".into()));
        assert_eq!(current(&session), Some("a"));
        assert_eq!(*session.reduce(Change::SignedOut), Session::SignedOut);
    }

    #[test]
    fn nothing_happens_without_a_session() {
        let session = Rc::new(Session::SignedOut).reduce(Change::Choose("a".into()));
        assert_eq!(*session, Session::SignedOut);
    }
}
