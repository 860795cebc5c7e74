//! `verify`: what a receipt or a stored purchase proves, without asking anybody.
//!
//! Nothing that the file says of itself is believed: each of its [`statements`] rests on a signature or
//! a digest. Where a part was replaced, the statements that rested on it no longer follow, and only
//! those.

mod statements;

use std::{fs, path::Path};

use protocol::{json, pki::Trust};
use serde_json::json;

use crate::{
    failure::{Exit, Failure},
    output::{print, print_json, say},
    payer::Payer,
    purchases::Record,
    verify::statements::Statement,
};

/// Everything that is found in a file.
struct Findings {
    statements: Vec<Statement>,
    /// Whether a gateway's decision is among what the file has.
    has_receipt: bool,
}

/// Verifies a file and says what follows from it.
pub(crate) fn run(payer: &Payer, file: &Path, json: bool) -> Result<Exit, Failure> {
    let text = fs::read_to_string(file).map_err(|source| Failure::Unreadable {
        path: file.to_owned(),
        source,
    })?;
    let findings = findings(text.trim(), &payer.trust.load());
    if json {
        print_json(&findings.object());
    } else {
        for statement in &findings.statements {
            print(&statement.line());
        }
    }
    say(findings.conclusion());
    Ok(findings.exit())
}

/// What follows from a text: a receipt alone, or a stored purchase.
fn findings(text: &str, trust: &Trust) -> Findings {
    if !text.starts_with('{') {
        return Findings {
            statements: vec![statements::of_receipt(text, trust)],
            has_receipt: true,
        };
    }
    match json::read_message::<Record>(text.as_bytes()) {
        Ok(record) => Findings {
            statements: statements::of_purchase(&record, trust),
            has_receipt: record.receipt.is_some() || record.withdrawn.is_some(),
        },
        Err(refusal) => Findings {
            statements: vec![Statement {
                name: "purchase",
                finding: Err(refusal),
            }],
            has_receipt: false,
        },
    }
}

impl Findings {
    fn everything_holds(&self) -> bool {
        self.statements
            .iter()
            .all(|statement| statement.finding.is_ok())
    }

    fn conclusion(&self) -> &'static str {
        match (self.everything_holds(), self.has_receipt) {
            (true, true) => "everything follows from signatures that hold",
            (true, false) => {
                "there is no receipt in it: what was decided is not known; ask with show XID --refresh"
            }
            (false, _) => {
                "not everything follows: a part was replaced or damaged, or a signer is not trusted"
            }
        }
    }

    fn exit(&self) -> Exit {
        match (self.everything_holds(), self.has_receipt) {
            (true, true) => Exit::Done,
            (true, false) => Exit::Unconfirmed,
            (false, _) => Exit::Stopped,
        }
    }

    fn object(&self) -> serde_json::Value {
        let statements: Vec<_> = self
            .statements
            .iter()
            .map(|statement| match &statement.finding {
                Ok(text) => json!({ "statement": statement.name, "holds": true, "text": text }),
                Err(refusal) => json!({
                    "statement": statement.name,
                    "holds": false,
                    "problem": refusal.problem.name(),
                    "text": refusal.detail,
                }),
            })
            .collect();
        json!({
            "everything_holds": self.everything_holds(),
            "has_receipt": self.has_receipt,
            "conclusion": self.conclusion(),
            "statements": statements,
        })
    }
}

#[cfg(test)]
mod tests {
    use protocol::{
        dual_signature::split_merchant_half, identifiers::Digest, purchase::PurchaseRequest,
        sd_jwt::Disclosure,
    };

    use super::*;
    use crate::vectors;

    /// The statements that fail, by name.
    fn failing(record: &Record, trust: &Trust) -> Vec<&'static str> {
        let text = serde_json::to_string(record).unwrap();
        findings(&text, trust)
            .statements
            .iter()
            .filter(|statement| statement.finding.is_err())
            .map(|statement| statement.name)
            .collect()
    }

    fn changed(change: impl FnOnce(&mut Record)) -> Vec<&'static str> {
        let mut record = vectors::record();
        change(&mut record);
        failing(&record, &vectors::trust("usual"))
    }

    /// The text with another character in the middle of its last part, the signature.
    fn other_signature(compact: &str) -> String {
        let at = compact.len() - 20;
        let other = if &compact[at..=at] == "A" { "B" } else { "A" };
        format!("{}{other}{}", &compact[..at], &compact[at + 1..])
    }

    /// Replaces a part of message 3.
    fn with_request(change: impl FnOnce(&mut PurchaseRequest)) -> Vec<&'static str> {
        changed(|record| {
            let mut request: PurchaseRequest = serde_json::from_str(&record.request).unwrap();
            change(&mut request);
            record.request = serde_json::to_string(&request).unwrap();
        })
    }

    #[test]
    fn of_an_untouched_purchase_everything_follows() {
        let text = serde_json::to_string(&vectors::record()).unwrap();
        let findings = findings(&text, &vectors::trust("usual"));
        assert_eq!(findings.exit(), Exit::Done);
        assert_eq!(findings.statements.len(), 7);
        let shown: Vec<_> = findings.statements.iter().map(Statement::line).collect();
        let shown = shown.join("\n");
        assert!(
            shown.contains("urn:twinseal:gateway:main approved 24.50 EUR"),
            "{shown}"
        );
        assert!(shown.contains("2 × Pride and Prejudice"), "{shown}");
    }

    #[test]
    fn a_receipt_alone_proves_the_decision_and_nothing_of_the_order() {
        let receipt = vectors::purchase().message_5.jws;
        let trust = vectors::trust("usual");
        let whole = findings(&receipt, &trust);
        assert_eq!((whole.statements.len(), whole.exit()), (1, Exit::Done));
        assert_eq!(
            findings(&other_signature(&receipt), &trust).exit(),
            Exit::Stopped
        );
        assert_eq!(findings("no receipt", &trust).exit(), Exit::Stopped);
        // A message of another kind is no receipt, whoever signed it.
        let session = vectors::purchase().message_2.jws;
        assert_eq!(findings(&session, &trust).exit(), Exit::Stopped);
    }

    #[test]
    fn with_another_order_the_payer_and_the_decision_still_follow() {
        let other = Disclosure::new(vectors::purchase().order).unwrap();
        let failing = with_request(|request| {
            let (compact, _) = split_merchant_half(&request.dual_signature).unwrap();
            request.dual_signature = format!("{compact}~{}~", other.text());
        });
        assert_eq!(failing, ["order", "answer"]);
    }

    #[test]
    fn with_another_payer_s_signature_all_that_rests_on_it_fails() {
        let failing = with_request(|request| {
            let (compact, disclosure) = split_merchant_half(&request.dual_signature).unwrap();
            request.dual_signature = format!("{}~{disclosure}~", other_signature(compact));
        });
        assert_eq!(
            failing,
            ["payer", "order", "payment", "shop", "about", "answer"]
        );
    }

    #[test]
    fn a_replaced_payment_session_receipt_or_answer_fails_by_itself() {
        let sealed = with_request(|request| {
            request.payment_information = request.payment_information.replacen("ey", "eyI", 1);
        });
        assert_eq!(sealed, ["payment"]);
        let session = changed(|record| record.session = other_signature(&record.session));
        assert_eq!(session, ["shop"]);
        let answer = changed(|record| {
            record.purchase_response = record.purchase_response.as_deref().map(other_signature);
        });
        assert_eq!(answer, ["answer"]);
        let receipt = changed(|record| {
            record.receipt = record.receipt.as_deref().map(other_signature);
        });
        assert_eq!(receipt, ["decision", "about", "answer"]);
    }

    #[test]
    fn what_the_file_says_of_itself_changes_nothing() {
        let failing = changed(|record| {
            record.client_x5t = Digest::of(b"another certificate");
            record.shop = "https://another.example".to_owned();
        });
        assert!(failing.is_empty(), "{failing:?}");
    }

    #[test]
    fn a_revoked_signer_takes_its_statements_with_it() {
        let record = vectors::record();
        let revoked = |trust: &str| failing(&record, &vectors::trust(trust));
        assert_eq!(
            revoked("gateway signing revoked"),
            ["decision", "about", "answer"]
        );
        assert_eq!(revoked("merchant revoked"), ["shop", "answer"]);
    }

    #[test]
    fn what_came_after_is_stated_one_by_one_and_a_withdrawal_is_no_approval() {
        let trust = vectors::trust("usual");
        let shown = |record: &Record| {
            let found = findings(&serde_json::to_string(record).unwrap(), &trust);
            let lines: Vec<_> = found.statements.iter().map(Statement::line).collect();
            (found.exit(), lines.join("\n"))
        };
        let captured = Record {
            after: vec![vectors::captured(2000), vectors::refunded(2000, 500)],
            ..vectors::record()
        };
        let (exit, said) = shown(&captured);
        assert_eq!(exit, Exit::Done, "{said}");
        assert!(said.contains("booked 20.00 EUR"), "{said}");
        assert!(said.contains("gave back 5.00 EUR"), "{said}");
        assert_eq!(said.matches("about this very signature").count(), 3);

        let withdrawn = Record {
            receipt: None,
            purchase_response: None,
            withdrawn: Some(vectors::withdrawn()),
            ..vectors::record()
        };
        let (exit, said) = shown(&withdrawn);
        assert_eq!(exit, Exit::Done, "{said}");
        assert!(said.contains("never authorized"), "{said}");
        assert!(!said.contains("approved"), "{said}");
        let alone = findings(&vectors::withdrawn(), &trust);
        assert!(!alone.statements[0].line().contains("approved"));

        // Of another signature, or a decision in the wrong place.
        for wrong in [
            vectors::other_receipt(|receipt| receipt.dsh = Digest::of(b"another")),
            vectors::purchase().message_5.jws,
        ] {
            let failing = changed(|record| record.after = vec![wrong]);
            assert_eq!(failing, ["authorization"]);
        }
        let damaged = changed(|record| {
            record.after = vec![other_signature(&vectors::captured(2000))];
        });
        assert_eq!(damaged, ["after"]);
    }

    #[test]
    fn without_a_receipt_the_outcome_is_open() {
        let record = Record {
            receipt: None,
            purchase_response: None,
            ..vectors::record()
        };
        let text = serde_json::to_string(&record).unwrap();
        let findings = findings(&text, &vectors::trust("usual"));
        assert_eq!(findings.exit(), Exit::Unconfirmed);
    }
}
