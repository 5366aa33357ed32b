-- Prices that a workspace puts before the bundled catalogue, and which APIs are priced by both.

CREATE TABLE price_override (
    id           uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspace (id) ON DELETE CASCADE,
    -- `*` stands for any run of characters.
    model        text NOT NULL,
    -- As an entry of api.cost_model: {"model", "prices": {"input", …}, "default_output_tokens"}, nano-USD per 1 000 tokens.
    entry        jsonb NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL
);
CREATE UNIQUE INDEX price_override_model_key ON price_override (workspace_id, model);

-- Set: the cost model is CATALOGUE, and the column cost_model is what overrides and this catalogue made of it.
ALTER TABLE api ADD COLUMN catalogue_version text;
