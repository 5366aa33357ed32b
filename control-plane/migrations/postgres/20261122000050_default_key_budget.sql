-- The budget that new keys of a workspace get; null: none.

ALTER TABLE workspace
    ADD COLUMN default_key_budget_nanos bigint CHECK (default_key_budget_nanos > 0),
    ADD COLUMN default_key_budget_window text,
    ADD COLUMN default_key_budget_auto_shutoff boolean;
