//! Measured rates and token buckets.
