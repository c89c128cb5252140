//! The stock of prekeys: each prekey is used once, for one peer.

use super::*;

#[tokio::test]
async fn a_repeated_delivery_does_not_bring_back_the_keys_of_a_removed_client() {
    let scene = scene().await;
    let delivery = prekeys(1);
    scene
        .fleet
        .prekeys(&scene.caller(), &scene.server, delivery.clone())
        .await
        .unwrap();
    let lost = scene.create(named("lost-phone")).await.unwrap();
    assert_eq!(lost.id, delivery.prekeys[0].id);
    let admin = admin();
    let remove = scene.fleet.remove_peer(&admin, &scene.server, &lost.id);
    remove.await.unwrap();

    scene
        .fleet
        .prekeys(&scene.caller(), &scene.server, delivery)
        .await
        .unwrap();
    assert_eq!(scene.poll(0).await.prekeys_wanted, 32, "nothing was added to the stock");
}
