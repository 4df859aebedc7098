-- The example collection. Its partitions come from freshet.create_shards('products', ...).
-- price is in integer pence: binary fractions of a pound have no place in a price list.
-- attributes is json, not jsonb, because a shop's free-form text must come back as it was written.

CREATE TABLE products (
    sku        text PRIMARY KEY,
    name       text NOT NULL,
    currency   text NOT NULL DEFAULT 'GBP',
    price      bigint NOT NULL CONSTRAINT products_price_not_negative CHECK (price >= 0),
    stock      integer NOT NULL DEFAULT 0 CONSTRAINT products_stock_not_negative CHECK (stock >= 0),
    attributes json NOT NULL DEFAULT '{}'
) PARTITION BY HASH (sku);

SELECT freshet.track('products');
