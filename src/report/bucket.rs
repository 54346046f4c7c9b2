//! A policy for a bucket: who may do what with the objects of a repository there.
//!
//! In the language of Amazon's bucket policies, which other servers understand in part.

use serde_json::{Value, json};

/// Who may do what, and where.
#[derive(Debug, Clone)]
pub struct BucketPolicy<'a> {
    /// Its name.
    pub bucket: &'a str,
    /// Of the repository in it, without slashes at its ends.
    pub prefix: &'a str,
    /// Who may only read, and make objects that are not there.
    pub clients: &'a [String],
    /// Who may also replace and delete them.
    pub owners: &'a [String],
    /// Below what clients make objects.
    pub kinds: &'a [&'a str],
    /// Whether the server can be told to look for `If-None-Match`.
    pub conditional: bool,
}

/// What nobody may do with whose credentials a machine is lost.
const NEVER: [&str; 9] = [
    "s3:BypassGovernanceRetention",
    "s3:DeleteBucket",
    "s3:DeleteBucketPolicy",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:PutBucketPolicy",
    "s3:PutBucketVersioning",
    "s3:PutLifecycleConfiguration",
    "s3:PutObjectRetention",
];

impl BucketPolicy<'_> {
    fn bucket(&self) -> String {
        format!("arn:aws:s3:::{}", self.bucket)
    }

    /// Objects below a part of the repository.
    fn objects(&self, below: &str) -> String {
        let prefix = if self.prefix.is_empty() { String::new() } else { format!("{}/", self.prefix) };
        format!("{}/{prefix}{below}*", self.bucket())
    }

    /// A statement on who may do what.
    fn statement(&self, id: &str, effect: &str, who: &[String], actions: Value, on: Value) -> Value {
        json!({ "Sid": id, "Effect": effect, "Principal": { "AWS": who }, "Action": actions, "Resource": on })
    }

    /// Names of the repository, and of what is beside it if it has the bucket for itself.
    fn lists(&self, id: &str, who: &[String], actions: Value) -> Value {
        let mut listing = self.statement(id, "Allow", who, actions, json!([self.bucket()]));
        if !self.prefix.is_empty() {
            // Who asks for an object that is not there names no prefix, and must hear that it is not there.
            listing["Condition"] = json!({ "StringLikeIfExists": { "s3:prefix": [format!("{}/*", self.prefix)] } });
        }
        listing
    }

    fn of_clients(&self, into: &mut Vec<Value>) {
        let (who, all) = (self.clients, json!([self.objects("")]));
        into.push(self.statement("ClientsRead", "Allow", who, json!(["s3:GetObject"]), all.clone()));
        into.push(self.lists("ClientsList", who, json!(["s3:ListBucket"])));
        let made: Vec<String> = self.kinds.iter().map(|kind| self.objects(kind)).collect();
        let mut makes = self.statement("ClientsCreate", "Allow", who, json!(["s3:PutObject"]), json!(made));
        if self.conditional {
            makes["Condition"] = json!({ "Null": { "s3:if-none-match": "false" } });
        }
        into.push(makes);
        if self.conditional {
            // Whatever else allows them to put.
            let mut overwrites =
                self.statement("ClientsNeverOverwrite", "Deny", who, json!(["s3:PutObject"]), all.clone());
            overwrites["Condition"] = json!({ "Null": { "s3:if-none-match": "true" } });
            into.push(overwrites);
        }
        let everything = json!([self.bucket(), self.objects("")]);
        into.push(self.statement("ClientsNeverDelete", "Deny", who, json!(NEVER), everything));
    }

    fn of_owners(&self, into: &mut Vec<Value>) {
        let actions = json!(["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:DeleteObject"]);
        let all = json!([self.objects("")]);
        into.push(self.statement("OwnersReadWriteDelete", "Allow", self.owners, actions, all));
        into.push(self.lists("OwnersList", self.owners, json!(["s3:ListBucket", "s3:ListBucketVersions"])));
    }

    /// As the service wants it.
    pub fn json(&self) -> String {
        let mut statements = Vec::new();
        if !self.clients.is_empty() {
            self.of_clients(&mut statements);
        }
        if !self.owners.is_empty() {
            self.of_owners(&mut statements);
        }
        let policy = json!({ "Version": "2012-10-17", "Statement": statements });
        format!("{policy:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(prefix: &str, conditional: bool) -> Value {
        let (clients, owners) = (["arn:aws:iam::1:user/web".to_owned()], ["arn:aws:iam::1:user/me".to_owned()]);
        let kinds = ["packs/", "copy/snapshots/"];
        let policy =
            BucketPolicy { bucket: "b", prefix, clients: &clients, owners: &owners, kinds: &kinds, conditional };
        serde_json::from_str(&policy.json()).expect("JSON")
    }

    fn of<'p>(policy: &'p Value, id: &str) -> &'p Value {
        let all = policy["Statement"].as_array().expect("statements");
        all.iter().find(|s| s["Sid"] == id).unwrap_or(&Value::Null)
    }

    #[test]
    fn clients_create_and_owners_delete() {
        let policy = policy("a/orlop", true);
        let create = of(&policy, "ClientsCreate");
        let made = json!(["arn:aws:s3:::b/a/orlop/packs/*", "arn:aws:s3:::b/a/orlop/copy/snapshots/*"]);
        assert_eq!(create["Resource"], made);
        assert_eq!(create["Condition"], json!({ "Null": { "s3:if-none-match": "false" } }));
        assert_eq!(create["Principal"], json!({ "AWS": ["arn:aws:iam::1:user/web"] }));
        assert_eq!(of(&policy, "ClientsNeverOverwrite")["Effect"], "Deny");
        assert_eq!(of(&policy, "ClientsList")["Condition"]["StringLikeIfExists"]["s3:prefix"], json!(["a/orlop/*"]));
        for s in policy["Statement"].as_array().expect("statements") {
            let is_client = s["Principal"]["AWS"][0] == "arn:aws:iam::1:user/web";
            let deletes = s["Action"].to_string().contains("Delete");
            assert!(!deletes || !is_client || s["Effect"] == "Deny", "{s}");
            assert!(s["Effect"] == "Deny" || !s["Action"].to_string().contains("DeleteObjectVersion"), "{s}");
        }
        assert!(of(&policy, "OwnersReadWriteDelete")["Action"].to_string().contains("s3:DeleteObject"));
    }

    #[test]
    fn a_bucket_of_its_own_and_a_server_without_conditions() {
        let policy = policy("", false);
        assert_eq!(of(&policy, "ClientsRead")["Resource"], json!(["arn:aws:s3:::b/*"]));
        assert!(of(&policy, "ClientsCreate").get("Condition").is_none());
        assert!(of(&policy, "ClientsList").get("Condition").is_none());
        assert_eq!(of(&policy, "ClientsNeverOverwrite"), &Value::Null);
        assert_eq!(of(&policy, "ClientsNeverDelete")["Effect"], "Deny");
    }
}
