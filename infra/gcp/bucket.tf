# The bucket of roots.
#
# Versioning is on: if-generation-match is honoured with it, and an object that somebody deleted comes back. No rule deletes what
# is live: an attempt that was not committed looks, to a rule by age or prefix, exactly like one that was, or that a job is about to
# commit; who knows which is which is `distill gc JOB --delete`. What gc deleted stays for two weeks, and goes then.
data "google_storage_project_service_account" "storage" {}

resource "google_kms_key_ring" "roots" {
  name     = "distill"
  location = var.region
}

resource "google_kms_crypto_key" "roots" {
  name            = "roots"
  key_ring        = google_kms_key_ring.roots.id
  rotation_period = "7776000s"
  lifecycle {
    prevent_destroy = true # without the key, all that it encrypted is lost
  }
}

resource "google_kms_crypto_key_iam_member" "storage" {
  crypto_key_id = google_kms_crypto_key.roots.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = data.google_storage_project_service_account.storage.member
}

resource "google_storage_bucket" "roots" {
  name                        = var.bucket
  location                    = var.region
  force_destroy               = false
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  versioning {
    enabled = true
  }
  encryption {
    default_kms_key_name = google_kms_crypto_key.roots.id
  }
  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 7
    }
  }
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 14
      with_state                 = "ARCHIVED"
    }
  }
  depends_on = [google_kms_crypto_key_iam_member.storage]
}
