"""The arguments and blocks that our Terraform uses of each kind of resource, at any depth: without the
providers, which are not to be had offline, Terraform itself checks no more than the syntax. Held against the
documentation of hashicorp/aws 6 and hashicorp/google 7."""

from __future__ import annotations

META = {"for_each", "count", "depends_on", "lifecycle", "dynamic", "ignore_changes"}
"""What every resource takes."""
_STATEMENT = "statement sid effect actions resources principals type identifiers condition test variable values"
_NAMES = {
    "aws_caller_identity": "",
    "aws_eks_node_group": (
        "cluster_name node_group_name node_role_arn subnet_ids ami_type capacity_type instance_types labels"
        " launch_template id version scaling_config min_size desired_size max_size taint key value effect"
    ),
    "aws_iam_instance_profile": "name role",
    "aws_iam_policy_document": _STATEMENT,
    "aws_iam_role": "name assume_role_policy",
    "aws_iam_role_policy": "name role policy",
    "aws_iam_role_policy_attachment": "role policy_arn",
    "aws_kms_key": "description enable_key_rotation deletion_window_in_days policy",
    "aws_launch_template": (
        "name_prefix metadata_options http_endpoint http_tokens http_put_response_hop_limit"
        " block_device_mappings device_name ebs volume_size volume_type encrypted delete_on_termination"
    ),
    "aws_s3_bucket": "bucket force_destroy",
    "aws_s3_bucket_lifecycle_configuration": (
        "bucket rule id status filter abort_incomplete_multipart_upload days_after_initiation"
        " noncurrent_version_expiration noncurrent_days expiration expired_object_delete_marker"
    ),
    "aws_s3_bucket_ownership_controls": "bucket rule object_ownership",
    "aws_s3_bucket_policy": "bucket policy",
    "aws_s3_bucket_public_access_block": (
        "bucket block_public_acls block_public_policy ignore_public_acls restrict_public_buckets"
    ),
    "aws_s3_bucket_server_side_encryption_configuration": (
        "bucket rule bucket_key_enabled apply_server_side_encryption_by_default sse_algorithm"
        " kms_master_key_id"
    ),
    "aws_s3_bucket_versioning": "bucket versioning_configuration status",
    "aws_security_group": "name description vpc_id",
    "aws_vpc_endpoint": "vpc_id service_name vpc_endpoint_type route_table_ids",
    "aws_vpc_security_group_egress_rule": "security_group_id description cidr_ipv4 ip_protocol",
    "aws_vpc_security_group_ingress_rule": (
        "security_group_id description referenced_security_group_id cidr_ipv4 ip_protocol from_port to_port"
    ),
    "google_compute_firewall": (
        "name network source_ranges source_service_accounts target_service_accounts allow protocol ports"
    ),
    "google_compute_subnetwork": (
        "name network region ip_cidr_range private_ip_google_access log_config aggregation_interval"
        " flow_sampling metadata"
    ),
    "google_container_node_pool": (
        "name cluster location node_locations autoscaling total_min_node_count total_max_node_count"
        " location_policy management auto_repair auto_upgrade node_config machine_type spot disk_size_gb"
        " disk_type image_type service_account oauth_scopes labels workload_metadata_config mode"
        " shielded_instance_config enable_secure_boot enable_integrity_monitoring guest_accelerator type count"
        " gpu_driver_installation_config gpu_driver_version taint key value effect"
    ),
    "google_kms_crypto_key": "name key_ring rotation_period prevent_destroy",
    "google_kms_crypto_key_iam_member": "crypto_key_id role member",
    "google_kms_key_ring": "name location",
    "google_project_iam_custom_role": "role_id title description permissions",
    "google_project_iam_member": "project role member",
    "google_service_account": "account_id display_name",
    "google_service_account_iam_member": "service_account_id role member",
    "google_storage_bucket": (
        "name location force_destroy uniform_bucket_level_access public_access_prevention versioning enabled"
        " encryption default_kms_key_name lifecycle_rule action type condition age days_since_noncurrent_time"
        " with_state"
    ),
    "google_storage_bucket_iam_member": "bucket role member",
    "google_storage_project_service_account": "",
}
MAPS = {"labels", "tags"}
"""Arguments whose own keys are the user's."""
KNOWN = {kind: set(names.split()) for kind, names in _NAMES.items()}
