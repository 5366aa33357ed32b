use super::*;
use crate::snapshot::Role;
use rateguard_wire::v1;

const EPOCH: Uuid = Uuid::from_u128(99);
const HERE: Uuid = Uuid::from_u128(1);
const THERE: Uuid = Uuid::from_u128(2);
const FILTER: Audience = Audience {
    role: Role::Filter,
    workspace_id: None,
};

fn at(version: i64) -> Position {
    Position {
        epoch: EPOCH,
        version,
    }
}

fn workspace(id: Uuid, slug: &str, version: i64) -> Change {
    let message = v1::Workspace {
        id: id.as_bytes().to_vec(),
        slug: slug.to_owned(),
        ..v1::Workspace::default()
    };
    Change {
        resource_type: ResourceType::Workspace,
        id,
        workspace_id: Some(id),
        version,
        body: Some(Body::Workspace(message)),
    }
}

fn rule(id: u128, workspace_id: Uuid, api_id: Uuid, version: i64) -> Change {
    let message = v1::Rule {
        id: Uuid::from_u128(id).as_bytes().to_vec(),
        api_id: api_id.as_bytes().to_vec(),
        ..v1::Rule::default()
    };
    Change {
        resource_type: ResourceType::Rule,
        id: Uuid::from_u128(id),
        workspace_id: Some(workspace_id),
        version,
        body: Some(Body::Rule(Box::new(message))),
    }
}

fn token(id: u128, secret: u8, version: i64) -> Change {
    let message = v1::DataPlaneToken {
        sha256: vec![secret; 32],
        ..v1::DataPlaneToken::default()
    };
    Change {
        resource_type: ResourceType::DataPlaneToken,
        id: Uuid::from_u128(id),
        workspace_id: None,
        version,
        body: Some(Body::DataPlaneToken(message)),
    }
}

fn removal(of: &Change, version: i64) -> Change {
    Change {
        body: None,
        version,
        ..of.clone()
    }
}

fn image(changes: Vec<Change>, version: i64) -> Image {
    let mut image = Image::new(at(version), 0);
    image.apply(changes, at(version));
    image
}

fn decoded(fragments: &Fragments) -> PollResponse {
    PollResponse::decode(fragments.bytes.as_slice()).unwrap()
}

fn slugs(fragments: &Fragments) -> Vec<String> {
    decoded(fragments)
        .workspaces
        .into_iter()
        .map(|w| w.slug)
        .collect()
}

#[test]
fn fragments_put_together_are_one_message() {
    let image = image(vec![workspace(HERE, "here", 3), workspace(THERE, "there", 4)], 4);
    let everything = image.everything(FILTER);
    assert_eq!(
        (everything.count, slugs(&everything)),
        (2, vec!["here".into(), "there".into()])
    );
}

#[test]
fn a_delta_has_only_what_changed_and_each_thing_once() {
    let mut image = image(vec![workspace(HERE, "here", 3), workspace(THERE, "there", 4)], 4);
    image.apply(vec![workspace(HERE, "second", 5)], at(5));
    image.apply(vec![workspace(HERE, "third", 6)], at(6));
    assert_eq!(slugs(&image.since(FILTER, 4)), ["third"]);
    assert_eq!(slugs(&image.since(FILTER, 3)), ["there", "third"]);
    assert_eq!(image.since(FILTER, 6), Fragments::default());
}

#[test]
fn a_write_that_changes_nothing_is_not_told() {
    let mut image = image(vec![workspace(HERE, "here", 3)], 3);
    image.apply(vec![workspace(HERE, "here", 4)], at(4));
    assert_eq!(image.since(FILTER, 3), Fragments::default());
}

#[test]
fn what_left_is_told_and_what_came_back_is_not_a_removal() {
    let here = workspace(HERE, "here", 3);
    let mut image = image(vec![here.clone()], 3);
    image.apply(vec![removal(&here, 4)], at(4));
    let told = decoded(&image.since(FILTER, 3));
    assert_eq!((told.workspaces.len(), told.removals.len()), (0, 1));
    assert_eq!(told.removals[0].id, HERE.as_bytes());
    image.apply(vec![workspace(HERE, "back", 5)], at(5));
    let told = decoded(&image.since(FILTER, 3));
    assert_eq!((told.workspaces.len(), told.removals.len()), (1, 0));
}

#[test]
fn a_workspace_takes_everything_of_it_along() {
    let here = workspace(HERE, "here", 3);
    let api = Uuid::from_u128(50);
    let mut image = image(
        vec![here.clone(), rule(10, HERE, api, 3), rule(11, THERE, api, 3)],
        3,
    );
    image.apply(vec![removal(&here, 4)], at(4));
    assert_eq!(decoded(&image.since(FILTER, 3)).removals.len(), 2);
    assert_eq!(decoded(&image.everything(FILTER)).rules.len(), 1);
}

#[test]
fn an_api_takes_its_rules_along() {
    let api = Change {
        resource_type: ResourceType::Api,
        id: Uuid::from_u128(50),
        workspace_id: Some(HERE),
        version: 4,
        body: None,
    };
    let other = Uuid::from_u128(51);
    let mut image = image(vec![rule(10, HERE, api.id, 3), rule(11, HERE, other, 3)], 3);
    image.apply(vec![api], at(4));
    assert_eq!(decoded(&image.everything(FILTER)).rules.len(), 1);
    assert_eq!(decoded(&image.since(FILTER, 3)).removals.len(), 2);
    assert_eq!(image.clusters_version(), 4);
}

#[test]
fn one_workspaces_audience_sees_nothing_of_another() {
    let mut image = image(vec![workspace(HERE, "here", 3), workspace(THERE, "there", 4)], 4);
    let only = Audience {
        workspace_id: Some(HERE),
        ..FILTER
    };
    assert_eq!(slugs(&image.everything(only)), ["here"]);
    let there = workspace(THERE, "there", 5);
    image.apply(vec![removal(&there, 5)], at(5));
    assert_eq!(image.since(only, 0).count, 1);
}

#[test]
fn a_token_is_known_until_it_leaves() {
    let made = token(7, 0xaa, 3);
    let mut image = image(vec![made.clone(), token(8, 0xbb, 3)], 3);
    assert_eq!(image.token(&[0xaa; 32]).unwrap().id, Uuid::from_u128(7));
    image.apply(vec![removal(&made, 4)], at(4));
    assert_eq!(image.token(&[0xaa; 32]), None);
    assert!(image.token(&[0xbb; 32]).is_some());
}

#[test]
fn clients_beyond_the_floor_or_ahead_start_over() {
    let image = Image::new(at(9), 5);
    let reached: Vec<bool> = [4, 5, 9, 10]
        .map(|version| image.reaches_back_to(version))
        .to_vec();
    assert_eq!(reached, [false, true, true, false]);
}

#[test]
fn removals_are_bounded_and_forgetting_them_raises_the_floor() {
    let count = i64::try_from(REMOVALS_MAX).unwrap() + 1;
    let gone =
        (1..=count).map(|version| removal(&rule(version.unsigned_abs().into(), HERE, HERE, 0), version));
    let image = image(gone.collect(), count);
    assert!(!image.reaches_back_to(count / 2 - 1));
    assert!(image.reaches_back_to(count - 1));
    assert_eq!(image.since(FILTER, count - 1).count, 1);
}
